// The console works without this; with it, it is quicker: local times, a live overview, keys.
"use strict";

const two = (number) => String(number).padStart(2, "0");

// The short name of the reader's zone at that time, such as PST or GMT+1.
function zoneOf(moment) {
  const parts = new Intl.DateTimeFormat(undefined, { timeZoneName: "short" }).formatToParts(moment);
  return parts.find(({ type }) => type === "timeZoneName").value;
}

// The reader's local time below UTC, where the two differ.
function addLocalTimes(root) {
  for (const element of root.querySelectorAll("time[datetime]")) {
    const moment = new Date(element.dateTime);
    if (Number.isNaN(moment.getTime()) || moment.getTimezoneOffset() === 0) continue;
    const day = `${moment.getFullYear()}-${two(moment.getMonth() + 1)}-${two(moment.getDate())}`;
    const clock = `${two(moment.getHours())}:${two(moment.getMinutes())}:${two(moment.getSeconds())}`;
    const local = document.createElement("span");
    local.className = "local";
    // The day only where it is another one than in UTC.
    const isSameDay = element.textContent.startsWith(day);
    local.textContent = ` ${isSameDay ? clock : `${day} ${clock}`} ${zoneOf(moment)}`;
    element.after(local);
  }
}

// One tree made like another, node by node: what is the same stays, and so does a reader's place.
function makeAlike(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  const [had, has] = [[...old.childNodes], [...fresh.childNodes]];
  if (old.nodeName !== fresh.nodeName || had.length !== has.length) {
    old.replaceWith(fresh);
  } else if (old.nodeType === Node.ELEMENT_NODE) {
    for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
    for (const { name, value } of fresh.attributes) old.setAttribute(name, value);
    had.forEach((child, number) => makeAlike(child, has[number]));
  } else {
    old.data = fresh.data;
  }
}

// The alarms of a page by name, each with its title and what was seen.
function alarmsOf(root) {
  const notices = [...root.querySelectorAll("[data-alarm]")];
  const text = (one, part) => one.querySelector(part).textContent;
  return new Map(notices.map((one) => [one.dataset.alarm, [text(one, "strong"), text(one, "bdi")]]));
}

// Said aloud when an alarm starts or ends; a wait that counts down is not news.
function announce(before, now) {
  const started = [...now].filter(([name]) => !before.has(name));
  const ended = [...before].filter(([name]) => !now.has(name));
  const words = [
    ...started.map(([, [title, seen]]) => `${title}: ${seen}.`),
    ...ended.map(([, [title]]) => `No longer active: ${title}.`),
  ];
  if (words.length) document.getElementById("said").textContent = words.join(" ");
}

// The part of the page that changes, fetched again while somebody looks at it.
function refreshLive() {
  const seconds = Number(document.getElementById("live")?.dataset.refresh);
  if (!seconds) return;
  setInterval(async () => {
    const live = document.getElementById("live");
    // Not under a reader's hands: what is open or marked would be taken away.
    if (document.hidden || live.querySelector("details[open]") || live.contains(document.activeElement)) return;
    try {
      const response = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (response.redirected) return location.reload();
      if (!response.ok) return;
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      const fresh = document.adoptNode(page.getElementById("live"));
      addLocalTimes(fresh);
      announce(alarmsOf(live), alarmsOf(fresh));
      makeAlike(live, fresh);
    } catch {
      // The server is away for a moment: the next round asks again.
    }
  }, seconds * 1000);
}

// "/" goes to the search, as people expect of a list.
function addSearchKey() {
  document.addEventListener("keydown", (event) => {
    const isTyping = event.target.closest("input, select, textarea");
    if (event.key !== "/" || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
    const search = document.querySelector("[data-search]") ?? document.querySelector(".find input");
    if (!search) return;
    event.preventDefault();
    search.focus();
    search.select();
  });
}

// One box that chooses all, and a button that waits until something is chosen.
function addSelectAll() {
  const boxes = [...document.querySelectorAll("input[name=bot_ids][type=checkbox]")];
  const head = document.querySelector("thead .choose");
  if (!boxes.length || !head) return;
  const all = document.createElement("input");
  all.type = "checkbox";
  all.setAttribute("aria-label", "Select all on this page");
  head.append(all);
  const button = head.closest("form").querySelector(".actions button");
  const words = button.textContent;
  const show = () => {
    const chosen = boxes.filter((box) => box.checked).length;
    all.checked = chosen === boxes.length;
    all.indeterminate = chosen > 0 && chosen < boxes.length;
    button.disabled = chosen === 0;
    button.textContent = chosen ? words.replace("selected", `${chosen} selected`) : words;
  };
  all.addEventListener("change", () => {
    for (const box of boxes) box.checked = all.checked;
    show();
  });
  for (const box of boxes) box.addEventListener("change", show);
  addEventListener("pageshow", show);
  show();
}

// A link to a search is read by people: without the fields nobody filled in.
function tidySearches() {
  for (const form of document.querySelectorAll("form.search")) {
    form.addEventListener("submit", () => {
      for (const field of form.elements) if (field.name && !field.value) field.disabled = true;
    });
    addEventListener("pageshow", () => {
      for (const field of form.elements) field.disabled = false;
    });
  }
}

document.documentElement.classList.add("has-script");
addLocalTimes(document);
refreshLive();
addSearchKey();
addSelectAll();
tidySearches();
