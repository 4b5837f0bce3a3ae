// Keeps the list fresh and makes the keyboard work. Everything else works without it.
"use strict";

const list = document.getElementById("list");

async function refresh() {
  const query = new URLSearchParams(location.search);
  query.set("rows", "");
  const answer = await fetch("/?" + query);
  if (!answer.ok) return;
  const open = document.activeElement?.closest(".messages a")?.getAttribute("href");
  list.innerHTML = await answer.text();  // the server's own template, escaped there
  if (open) link(open)?.focus();
  const button = document.querySelector("[data-confirm] button");
  button.disabled = !list.querySelector(".messages li") && !query.get("search");
}

function link(href) {
  return [...document.querySelectorAll(".messages a")].find((each) => each.getAttribute("href") === href);
}

if (list) {
  const source = new EventSource("/events?version=" + list.dataset.version);
  source.onmessage = refresh;
  source.addEventListener("trouble", (event) => { document.title = event.data; });
}

document.addEventListener("submit", (event) => {
  const question = event.target.dataset.confirm;
  if (question && !confirm(question)) event.preventDefault();
});

function step(by) {
  const links = [...document.querySelectorAll(".messages a")];
  const at = links.indexOf(document.activeElement);
  links[Math.min(Math.max(at + by, 0), links.length - 1)]?.focus();
}

async function remove() {
  const button = document.getElementById("delete");
  if (button) return button.click();
  const chosen = document.activeElement?.closest(".messages a");
  if (!chosen) return;
  step(1);
  await fetch(chosen.getAttribute("href") + "/delete", { method: "POST", redirect: "manual" });
  await refresh();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.target.matches("input")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const go = (id) => document.getElementById(id)?.click();
  const keys = {
    j: () => (list ? step(1) : go("older")),
    k: () => (list ? step(-1) : go("newer")),
    d: remove,
    u: () => go("back"),
    "/": () => document.getElementById("search")?.focus(),
  };
  if (!(event.key in keys)) return;
  event.preventDefault();
  keys[event.key]();
});
