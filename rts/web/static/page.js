// Small things of every page: show what needs a script, print, put the focus where the work goes on.
document.documentElement.classList.add("has-script");

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-print]")) print();
});

// After an error the summary is read first; a field that a scanner types into keeps the focus instead.
const scan = document.querySelector("input[data-scan]");
const summary = document.querySelector("[data-focus]");
if (scan && scan.autofocus) {
  scan.focus();
  scan.select();
} else if (summary) {
  summary.focus();
}
