// Keeps the list fresh and makes the keyboard work. Everything else works without it.
"use strict";

const root = document.documentElement.dataset.root;
const list = document.getElementById("list");
const trouble = document.getElementById("trouble");
let source = null;

const links = () => [...document.querySelectorAll(".messages a")];
const boxes = () => [...document.querySelectorAll(".messages input")];
const mailboxes = () => document.querySelector(".mailboxes");
const wide = matchMedia("(min-width: 44.01rem)");
const chosen = () => document.activeElement?.closest(".messages a");

// A link that is replaced between the press and the release of the button would not be clicked.
let released = Promise.resolve();
addEventListener("pointerdown", (event) => {
  if (event.button) return;  // a menu may keep the release of the others for itself
  released = new Promise((resolve) => {
    const end = () => setTimeout(resolve);  // the click itself comes after this event
    for (const type of ["pointerup", "pointercancel"]) addEventListener(type, end, { once: true });
    setTimeout(resolve, 10_000);
  });
});

// Fetches the rows from the server, which has escaped them. What is focused and selected is looked at when
// they are there, not when they were asked for. Rows that were asked for earlier may come later.
let asked = 0;
let shown = 0;
async function refresh() {
  const query = new URLSearchParams(location.search);
  query.set("rows", "");
  const turn = ++asked;
  const answer = await fetch(root + "?" + query);
  const rows = await answer.text();
  await released;
  if (turn < shown) return;
  shown = turn;
  if (!answer.ok) return tell("The server answers: " + answer.status + " " + answer.statusText);
  const href = chosen()?.getAttribute("href");
  const scrolled = mailboxes()?.querySelector("nav").scrollTop;
  const open = mailboxes()?.open;
  const selected = new Set(boxes().filter((box) => box.checked).map((box) => box.value));
  const box = document.activeElement?.closest(".mailboxes a")?.getAttribute("href");
  list.innerHTML = rows;
  if (mailboxes()) {
    mailboxes().open = open ?? wide.matches;
    mailboxes().querySelector("nav").scrollTop = scrolled ?? 0;
    [...mailboxes().querySelectorAll("a")].find((link) => link.getAttribute("href") === box)?.focus();
  }
  localTimes();
  for (const box of boxes()) box.checked = selected.has(box.value);
  links().find((link) => link.getAttribute("href") === href)?.focus();
  facts();
  offerCopies();
  offerUndo();
  tell("");
}

// Updates the title and the button "Delete" from the facts in the new rows.
function facts() {
  const found = document.getElementById("facts").dataset;
  const form = document.getElementById("delete-found");
  form.setAttribute("action", found.action);
  form.querySelector("button").disabled = found.total === "0";
  const title = document.title.replace(/^\(\d+\) /, "");
  document.title = found.unread === "0" ? title : `(${found.unread}) ${title}`;
  icon(found.unread !== "0");
}

// A dot on the icon in the browser's tab while something is unread.
function icon(unread) {
  const link = document.getElementById("icon");
  plain ||= link.href;
  const dot = "%3Ccircle cx='12.5' cy='3.5' r='3.5' fill='%23d93025'/%3E%3C/svg%3E";
  link.href = unread ? plain.replace("%3C/svg%3E", dot) : plain;
}
let plain = "";

// Shows times in the local time zone, in the server's format: 2026-11-23 09:30. The list shows minutes for
// the last hour and the time of day for others, below a line for each day.
function localTimes() {
  const day = (date) => date.toLocaleDateString("sv");
  const now = new Date();
  const names = { [day(now)]: "Today", [day(new Date(now - 86_400_000))]: "Yesterday" };
  let before = "";
  for (const time of document.querySelectorAll("time")) {
    const date = new Date(time.dateTime);
    const text = date.toLocaleString("sv");
    const minutes = Math.floor((now - date) / 60_000);
    time.title = text;
    time.textContent = text.slice(0, 16);
    const row = time.closest(".messages li");
    if (!row) continue;
    if (minutes >= 0 && minutes < 60) time.textContent = minutes ? minutes + " min ago" : "now";
    else time.textContent = text.slice(11, 16);
    if (day(date) !== before) row.dataset.day = names[day(date)] ?? date.toLocaleDateString(undefined, { dateStyle: "full" });
    else delete row.dataset.day;
    before = day(date);
  }
}

// Buttons that copy. Browsers give a page by http from another machine no clipboard, but the old command works.
async function copy(button) {
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
  } catch {
    const area = document.body.appendChild(document.createElement("textarea"));
    area.value = button.dataset.copy;
    area.select();
    document.execCommand("copy");
    area.remove();
    button.focus();
  }
  button.textContent = "Copied";
  setTimeout(() => (button.textContent = "Copy"), 2000);
}

function offerCopies() {
  for (const button of document.querySelectorAll(".copy")) button.hidden = false;
}

// A deletion can be undone for ten seconds after the page shows it first.
let offered = "";
let withdrawn = "";
function offerUndo() {
  const bar = document.querySelector(".undo");
  const token = bar?.dataset.token;
  if (token && token === withdrawn) bar.remove();  // these rows were asked for before the ten seconds ended
  if (!token || token === offered) return;
  offered = token;
  setTimeout(() => {
    withdrawn = token;
    const url = new URL(location);
    if (url.searchParams.get("undo") === token) {
      url.searchParams.delete("undo");
      history.replaceState(null, "", url);
    }
    const bar = document.querySelector(".undo");
    if (bar?.dataset.token === token) bar.remove();
  }, 10_000);
}

function tell(text) {
  trouble.textContent = text;
  trouble.hidden = !text;
}

// A browser has few connections per server, so a hidden page must not keep one.
function listen() {
  source?.close();
  source = null;
  if (document.hidden) return;
  source = new EventSource(root + "events?version=" + list.dataset.version);
  source.onmessage = (event) => {
    list.dataset.version = event.data;
    refresh();
  };
  source.addEventListener("trouble", (event) => tell(event.data));
  source.onerror = () => tell("The server does not answer.");
  source.onopen = () => tell("");
}

// On a phone the mailboxes are folded away above the list; on a wide screen they stand beside it.
function fold() {
  if (mailboxes()) mailboxes().open = wide.matches;
}

localTimes();
offerCopies();
if (list) {
  setInterval(localTimes, 60_000);
  facts();
  fold();
  wide.addEventListener("change", fold);
  document.querySelector(".mailboxes [aria-current]")?.scrollIntoView({ block: "nearest" });
  links().find((link) => link.pathname === sessionStorage.opened)?.focus();
  offerUndo();
  listen();
  document.addEventListener("visibilitychange", listen);
} else {
  sessionStorage.opened = location.pathname;  // so that the list can focus it later
}

document.addEventListener("click", (event) => {
  const button = event.target.closest(".copy");
  if (button) copy(button);
});

document.addEventListener("submit", (event) => {
  if (event.target.id !== "delete-found") return;
  if (!confirm(document.getElementById("facts").dataset.question)) event.preventDefault();
});

// The address of the page that is shown, with what can be undone now.
function keep(address) {
  const url = new URL(location);
  url.searchParams.set("undo", new URL(address).searchParams.get("undo"));
  return url;
}

function step(by) {
  const all = links();
  const at = all.indexOf(document.activeElement);
  all[Math.min(Math.max(at + by, 0), all.length - 1)]?.focus();
}

// Applies the action of button `id` to the open message, or of `path` to the one focused in the list.
async function act(id, path) {
  const button = document.getElementById(id);
  if (button) return button.click();
  const link = chosen();
  if (!link) return;
  if (id === "delete") {
    step(1);
    if (chosen() === link) step(-1);
  }
  const answer = await fetch(link.pathname + path + link.search, {
    method: "POST",
    redirect: id === "delete" ? "follow" : "manual",  // to open a message is to read it
  });
  if (new URL(answer.url).searchParams.has("undo")) history.replaceState(null, "", keep(answer.url));
  await refresh();
}

function onKey(event) {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.target.matches?.("input:not([type=checkbox]), textarea, select")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const go = (id) => document.getElementById(id)?.click();
  const keys = {
    j: () => (list ? step(1) : go("older")),
    k: () => (list ? step(-1) : go("newer")),
    d: () => act("delete", "/delete"),
    m: () => act("unread", "/toggle/S"),
    s: () => act("star", "/toggle/F"),
    u: () => go("back"),
    x: () => chosen()?.parentElement.querySelector("input")?.click(),
    "/": () => document.getElementById("search")?.focus(),
  };
  if (!(event.key in keys)) return;
  event.preventDefault();
  keys[event.key]();
}
document.addEventListener("keydown", onKey);
