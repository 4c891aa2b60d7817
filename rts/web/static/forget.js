// A page that the browser keeps whole, for the way back to it, keeps nothing marked `data-forget`.
addEventListener("pagehide", () => {
  for (const secret of document.querySelectorAll("[data-forget]")) secret.remove();
});
