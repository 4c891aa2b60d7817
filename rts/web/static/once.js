// A form marked `data-once` is sent once. The idempotency key guards the record; this spares people the doubt.
const sent = new WeakSet();

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!("once" in form.dataset)) return;
  if (sent.has(form)) {
    event.preventDefault();
    return;
  }
  sent.add(form);
  for (const button of form.querySelectorAll("button[data-busy]")) {
    const word = button.querySelector("span");
    button.dataset.verb = word.textContent;
    button.setAttribute("aria-disabled", "true");
    word.textContent = button.dataset.busy;
  }
});

// Back to a page kept by the browser: it can be sent again.
addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  for (const form of document.querySelectorAll("form[data-once]")) sent.delete(form);
  for (const button of document.querySelectorAll("button[data-verb]")) {
    button.removeAttribute("aria-disabled");
    button.querySelector("span").textContent = button.dataset.verb;
  }
});
