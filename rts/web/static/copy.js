// Copy buttons beside numbers: `data-copy` is what is copied, `data-copied` the word shown for two seconds.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const word = button.querySelector(".copy-word");
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
  } catch {
    // Without a secure context or permission: mark the number, so that Ctrl+C copies it.
    getSelection().selectAllChildren(button.parentElement.querySelector(".code"));
    return;
  }
  const before = button.dataset.word ?? word.textContent;
  button.dataset.word = before;
  word.textContent = button.dataset.copied;
  button.classList.add("is-copied");
  setTimeout(() => {
    word.textContent = before;
    button.classList.remove("is-copied");
  }, 2000);
});
