"use strict";
(() => {
  const form = document.getElementById("filters");
  if (!form) return;
  const cards = Array.from(document.querySelectorAll("#cards > article"));
  const count = document.getElementById("count");
  const none = document.getElementById("none");
  const more = document.getElementById("more");
  const page = 24;
  let most = page;

  function filter() {
    const wanted = new FormData(form);
    const text = (wanted.get("text") || "").toLowerCase();
    let shown = 0;
    for (const card of cards) {
      const fits = ["task", "group", "kind"].every((name) => !wanted.get(name) || card.dataset[name] === wanted.get(name));
      const found = fits && (text === "" || card.textContent.toLowerCase().includes(text));
      if (found) shown += 1;
      card.hidden = !found || shown > most;
    }
    count.textContent = shown > most ? `${most} of ${shown} shown` : `${shown} shown`;
    none.hidden = shown > 0;
    more.hidden = shown <= most;
  }

  function step(event) {
    const way = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const here = document.activeElement;
    if (!way || !cards.includes(here)) return;
    const visible = cards.filter((card) => !card.hidden);
    const next = visible[visible.indexOf(here) + way];
    if (next) {
      event.preventDefault();
      next.focus();
    }
  }

  function anew() {
    most = page;
    filter();
  }

  more.addEventListener("click", () => {
    const next = most;
    most += page;
    filter();
    cards.filter((card) => !card.hidden)[next].focus();
  });
  form.addEventListener("input", anew);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(anew));
  document.getElementById("cards").addEventListener("keydown", step);
  filter();
})();
