// Dates typed as YYYY-MM-DD: echo the weekday while typing, and open the browser's calendar from the button.
const names = new Intl.DateTimeFormat(document.documentElement.lang, { weekday: "long", timeZone: "UTC" });

function weekdayOf(text) {
  if (!/^\d{4}-\d{2}-\d{2}$/.test(text)) return "";
  const day = new Date(`${text}T00:00:00Z`);
  const real = !Number.isNaN(day.getTime()) && day.toISOString().startsWith(text);
  return real ? names.format(day) : "";
}

function echo(input) {
  const text = input.value.trim();
  const output = document.getElementById(`${input.id}-weekday`);
  output.textContent = weekdayOf(text) || (text.length < 10 ? "" : input.dataset.noDate);
}

document.addEventListener("input", (event) => {
  if (event.target.matches?.("input[data-date]")) echo(event.target);
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-pick]");
  if (!button) return;
  const input = document.getElementById(button.dataset.pick);
  let picker = button.querySelector("input");
  if (!picker) {
    picker = document.createElement("input");
    picker.type = "date";
    picker.tabIndex = -1;
    picker.setAttribute("aria-hidden", "true");
    picker.addEventListener("change", () => {
      input.value = picker.value;
      echo(input);
      input.focus();
    });
    button.append(picker);
  }
  picker.value = weekdayOf(input.value.trim()) ? input.value.trim() : "";
  picker.showPicker?.();
});

for (const input of document.querySelectorAll("input[data-date]")) echo(input);
