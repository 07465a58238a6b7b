// Keeps the worklist fresh without losing the place of someone who is using the keyboard in it.
"use strict";

const PAUSE_MS = 5000;

async function refresh() {
  const list = document.getElementById("list");
  if (document.hidden || list.contains(document.activeElement)) return;
  const answer = await fetch("/", { headers: { Accept: "text/html" } });
  if (!answer.ok || answer.redirected) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.getElementById("list");
  if (fresh && fresh.innerHTML !== list.innerHTML) list.replaceChildren(...fresh.childNodes);
}

setInterval(() => refresh().catch(() => {}), PAUSE_MS); // a server that is away is noticed when the reader opens a study
