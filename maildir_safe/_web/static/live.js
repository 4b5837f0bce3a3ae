// Keeps the sessions and the faults fresh. What is refused changes no mailbox, so no event tells of it.
"use strict";

const live = document.getElementById("live");
let current = "";

async function renew() {
  if (document.hidden) return;
  const answer = await fetch(location.href).catch(() => null);
  if (!answer?.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.getElementById("live");
  if (!fresh || fresh.innerHTML === current) return;
  current = fresh.innerHTML;
  for (const one of fresh.querySelectorAll("details")) one.open = document.getElementById(one.id)?.open ?? one.open;
  const focused = live.contains(document.activeElement) ? document.activeElement.id : "";
  live.replaceChildren(...fresh.childNodes);
  if (focused) document.getElementById(focused)?.focus();
  localTimes();
  offerCopies();
}
setInterval(renew, 2000);
