// Beside an open message: its frame as high as the mail, at the widths of other screens, and printing.
// The frame runs no scripts: its sandbox forbids them, and so does its policy. Only this page looks into it.
"use strict";

const frame = document.querySelector("iframe");
const widths = document.querySelector(".widths");

function fit() {
  const mail = frame.contentDocument;
  if (!mail) return;
  frame.style.height = "12rem";  // what is as high as its window must not grow with it
  const needed = Number(mail.documentElement?.scrollHeight) || 0;
  frame.style.height = Math.min(Math.max(needed + 20, 190), 20_000) + "px";
}

if (frame) {
  const loaded = () => {
    frame.contentDocument?.addEventListener("keydown", onKey);
    fit();
  };
  frame.addEventListener("load", loaded);
  if (frame.contentDocument?.readyState === "complete") loaded();
  addEventListener("resize", fit);
}

if (widths) {
  widths.hidden = false;
  widths.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    for (const each of widths.querySelectorAll("button")) each.setAttribute("aria-pressed", each === button);
    frame.style.width = button.dataset.width ? button.dataset.width + "px" : "";
    fit();
  });
}

const printing = document.getElementById("print");
if (printing) {
  printing.hidden = false;
  printing.addEventListener("click", () => print());
}
