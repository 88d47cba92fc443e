// What htmx leaves to pages: saying that a request failed, polling on afterwards, going on with what
// the address names after a reload, and giving the focus back to a button that was disabled.
"use strict";

const RETRY_MS = 1000;
const byId = (id) => document.getElementById(id);
const say = (text) => { byId("notice").textContent = text; };

let lastFocus = null;

function reason(xhr) {
  try {
    return JSON.parse(xhr.responseText).detail;
  } catch {
    return null; // no answer, or one that is not ours
  }
}

function failed(event) {
  const { elt, xhr } = event.detail;
  if (elt.id === "poll") {
    say("The connection is lost. Trying again...");
    setTimeout(() => htmx.trigger(elt, "again"), RETRY_MS);
  } else {
    say(`${reason(xhr) ?? "The server cannot be reached."} Please try again.`);
  }
}

for (const name of ["htmx:sendError", "htmx:responseError", "htmx:timeout"]) {
  document.addEventListener(name, failed);
}

document.addEventListener("htmx:beforeRequest", () => {
  if (document.activeElement.id) lastFocus = document.activeElement.id;
});

document.addEventListener("htmx:beforeOnLoad", (event) => {
  if (event.detail.xhr.status < 400) say("");
});

document.addEventListener("htmx:afterSettle", () => {
  const element = lastFocus && byId(lastFocus);
  if (element && !element.disabled && document.activeElement === document.body) {
    element.focus({ preventScroll: true });
  }
});

document.addEventListener("DOMContentLoaded", () => {
  const poll = byId("poll");
  const id = location.hash.slice(1);
  if (!/^[A-Za-z0-9_-]+$/.test(id)) return; // ours look like this; anything else is no path
  poll.setAttribute("hx-get", poll.dataset.resume + id);
  poll.setAttribute("hx-trigger", "load, again");
  poll.setAttribute("hx-swap", "outerHTML");
  htmx.process(poll);
});
