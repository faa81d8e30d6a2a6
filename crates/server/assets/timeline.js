// The list of messages: a window onto a room's entries, anchored at the bottom.
//
// Only some hundreds of entries stand in the document however many the room holds, so a long room scrolls like a
// short one. New messages never move what is being read: what is first on the screen stays where it is.
//
// The scroller counts from its end (`column-reverse`): 0 is the newest message, above it is negative. Whatever
// changes its size or the list's, 0 stays 0, so the browser itself keeps the end and only a hand leaves it.

import { grouped, hueOf, initialsOf } from "/model.js";

const WINDOW = 300;
const STEP = 100;
const NEAR_PX = 800;
const AT_END_PX = 32;
const LONG_CHARS = 1500;
const LONG_LINES = 24;

export class Timeline {
  /** `older()` is called when the top comes near, `moved()` when the bottom was reached or left. */
  constructor({ scroller, list, older, moved, retry, edit, discard }) {
    Object.assign(this, { scroller, list, older, moved, retry, edit, discard });
    this.rows = new Map(); //  key -> { el, face }
    this.open = new Set(); //  long messages shown in full
    this.stuck = true; //      at the bottom, and staying there
    scroller.addEventListener("scroll", () => this.scrolled(), { passive: true });
    new ResizeObserver(() => this.scrolled()).observe(scroller); // a taller screen shows more
  }

  /** Shows another room, at its end; `null` shows nothing. */
  show(model) {
    this.model = model;
    this.open.clear();
    this.rows.clear();
    this.list.replaceChildren();
    if (model) this.jump();
  }

  /** Goes to the newest message. */
  jump() {
    this.stuck = true;
    this.scroller.scrollTop = 0;
    this.from = Math.max(0, this.model.shown.length - STEP);
    this.to = this.model.shown.length;
    this.render();
  }

  /** `count` entries came on top of the ones known. */
  prepended(count) {
    this.from += count;
    this.to += count;
    this.render();
  }

  /** Something changed; drawn once per frame however much it was. */
  changed() {
    if (this.queued) return;
    this.queued = true;
    const draw = () => {
      this.queued = false;
      this.render();
    };
    if (document.hidden) setTimeout(draw, 200);
    else requestAnimationFrame(draw);
  }

  get atEnd() {
    return this.stuck;
  }

  render() {
    if (!this.model) return;
    const { shown, pending } = this.model;
    this.notice(); // a hand may have moved the list since the last scroll event
    if (this.stuck) {
      this.to = shown.length;
      this.from = Math.max(Math.min(this.from, this.to), this.to - WINDOW, 0);
    } else if (this.to - this.from < WINDOW) {
      this.to = Math.min(shown.length, this.from + WINDOW);
    }
    const entries = shown.slice(this.from, this.to);
    if (this.to === shown.length) entries.push(...pending);
    const keep = new Set(entries.map((e) => e.key));
    const anchor = this.stuck ? null : this.firstVisible(keep);

    for (const [key, { el }] of [...this.rows]) {
      if (keep.has(key)) continue;
      el.remove();
      this.rows.delete(key);
    }
    let before = shown[this.from - 1];
    let at = this.list.firstChild;
    for (const entry of entries) {
      const was = this.rows.get(entry.key)?.el;
      const el = this.row(entry, before);
      if (at && was === at) at = el; // drawn anew, in its old place
      if (el === at) at = at.nextSibling;
      else this.list.insertBefore(el, at);
      before = entry;
    }
    if (anchor) this.scroller.scrollTop += this.rows.get(anchor.key).el.getBoundingClientRect().bottom - anchor.bottom;
    this.fill();
  }

  /** The first row on the screen that stays. Its lower edge is the measure: a day or a name may come off its top. */
  firstVisible(keep) {
    const edge = this.scroller.getBoundingClientRect().top;
    for (const el of this.list.children) {
      const { bottom } = el.getBoundingClientRect();
      if (bottom > edge && keep.has(el.dataset.key)) return { key: el.dataset.key, bottom };
    }
    return null;
  }

  /** How much of the list is hidden below the screen, and above it. */
  get below() {
    return -this.scroller.scrollTop;
  }

  get above() {
    const { scrollHeight, clientHeight } = this.scroller;
    return scrollHeight - clientHeight - this.below;
  }

  /** Was the end left or reached? While it sticks, the newest may not be drawn yet. */
  notice() {
    const stuck = this.below < AT_END_PX && (this.stuck || this.to === this.model.shown.length);
    if (stuck === this.stuck) return;
    this.stuck = stuck;
    this.moved();
  }

  scrolled() {
    if (!this.model) return;
    this.notice();
    if (this.below < NEAR_PX && this.to < this.model.shown.length) {
      this.to = Math.min(this.model.shown.length, this.to + STEP);
      this.from = Math.max(this.from, this.to - WINDOW);
      this.render();
    } else this.fill();
  }

  /** Where the top is near more is shown, and what is not there is asked for; nobody has to scroll for it. */
  fill() {
    if (!this.scroller.clientHeight || this.above >= NEAR_PX) return;
    const full = this.stuck && this.to - this.from >= WINDOW;
    if (this.from > 0 && !full) {
      this.from = Math.max(0, this.from - STEP);
      if (!this.stuck) this.to = Math.min(this.to, this.from + WINDOW);
      this.render();
    } else if (this.from === 0 && this.model.hasOlder) this.older();
  }

  // ---- one row ----

  row(entry, before) {
    const day = !before || dayOf(before.ts) !== dayOf(entry.ts);
    const { line } = this.model;
    const unread = line !== null && entry.seq > line && (!before || before.seq <= line);
    const follows = !day && !unread && grouped(before, entry);
    const face = [day && dayName(entry.ts), unread, follows, entry.state, entry.code, entry.edited, entry.gone, entry.text, entry.ts, this.open.has(entry.key)].join("\u0001");
    const known = this.rows.get(entry.key);
    if (known?.face === face) return known.el;
    const el = element("li", { className: entry.note ? "note" : follows ? "msg follows" : "msg" });
    el.dataset.key = entry.key;
    if (day) el.append(element("div", { className: "day" }, element("span", {}, dayName(entry.ts))));
    if (unread) el.append(element("div", { className: "unread" }, element("span", {}, "New")));
    if (entry.note) el.append(element("p", { title: exactTime(entry.ts) }, entry.text));
    else el.append(this.message(entry, follows));
    known?.el.replaceWith(el);
    this.rows.set(entry.key, { el, face });
    return el;
  }

  message(entry, follows) {
    const mine = entry.by === this.model.me;
    const by = entry.by ?? "application";
    const shown = follows ? shortTime(entry.ts).replace(/\s?[ap]m$/i, "") : shortTime(entry.ts);
    const time = element("time", { dateTime: new Date(entry.ts).toISOString(), title: exactTime(entry.ts) }, shown);
    const article = element("article", {});
    if (follows) article.append(element("span", { className: "gutter" }, time));
    else article.append(avatar(by));
    const body = element("div", { className: "body" });
    if (!follows) {
      const name = element("strong", {}, by);
      body.append(element("header", {}, name, mine ? element("span", { className: "you" }, "you") : "", time));
    }
    const tail = mine ? mark(entry.state ?? "sent") : "";
    if (entry.gone) body.append(element("p", { className: "text gone" }, "Message deleted"));
    else body.append(this.text(entry, tail));
    if (entry.state === "failed") body.append(this.failed(entry));
    article.append(body);
    return article;
  }

  /** Why it was not sent, and what can be done: the same again only where that may end otherwise. */
  failed({ cid, code, text }) {
    const button = (label, onclick) => element("button", { type: "button", onclick }, label);
    const again = code === "too_large" ? button("Edit", () => this.edit(cid, text)) : button("Retry", () => this.retry(cid));
    return element("p", { className: "failed" }, element("span", {}, failure(code)), again, button("Discard", () => this.discard(cid)));
  }

  text(entry, tail) {
    const long = entry.text.length > LONG_CHARS || entry.text.split("\n").length > LONG_LINES;
    const clamped = long && !this.open.has(entry.key);
    const p = element("p", { className: `text${tail && " own"}${clamped ? " clamped" : ""}`, dir: "auto" }, ...linked(entry.text));
    if (entry.edited) p.append(element("span", { className: "edited" }, " (edited)"));
    if (!clamped) p.append(tail);
    if (!long) return p;
    const toggle = () => {
      const top = () => this.rows.get(entry.key).el.getBoundingClientRect().top;
      const was = top();
      if (!this.open.delete(entry.key)) this.open.add(entry.key);
      this.render();
      this.scroller.scrollTop += top() - was; // it opens downwards
      this.scrolled();
      this.rows.get(entry.key).el.querySelector(".long > button").focus({ preventScroll: true });
    };
    const button = element("button", { type: "button", onclick: toggle }, clamped ? "Show all" : "Show less");
    return element("div", { className: "long" }, p, button, clamped ? tail : "");
  }
}

/** Text as nodes: addresses become links, nothing becomes markup. */
function linked(text) {
  const parts = text.split(/(https?:\/\/[^\s<>"']+)/);
  return parts.flatMap((part, i) => {
    if (i % 2 === 0) return part;
    const end = part.match(/[.,;:!?)\]}]*$/)[0];
    const href = part.slice(0, part.length - end.length);
    if (!URL.canParse(href)) return part;
    return [element("a", { href, target: "_blank", rel: "noopener noreferrer nofollow" }, href), end];
  });
}

const MARKS = { sending: "Sending", sent: "Sent", failed: "Not sent" };

/** It adds no width, so no line breaks before it: the icon stands in the margin that `own` leaves. */
function mark(state) {
  return element("span", { className: `mark ${state}`, title: MARKS[state] }, icon(`i-${state}`), element("span", { className: "sr" }, MARKS[state]));
}

const FAILURES = {
  too_large: "Not sent: it is too long. Make it shorter, or send it in parts.",
  forbidden: "Not sent: your role does not allow it.",
  not_member: "Not sent: you are not in this room.",
  not_found: "Not sent: the room is gone.",
  expired: "Waited too long: it may have arrived. Look before you retry.",
};

function failure(code) {
  return `${FAILURES[code] ?? "Not sent."} (${code})`;
}

export function avatar(user) {
  const el = element("span", { className: "avatar", ariaHidden: "true" }, initialsOf(user));
  el.style.setProperty("--hue", hueOf(user));
  return el;
}

export function icon(id) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#${id}`);
  svg.append(use);
  return svg;
}

export function element(tag, properties, ...children) {
  const el = Object.assign(document.createElement(tag), properties);
  el.append(...children);
  return el;
}

// ---- time ----

const clock = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });
const thisYear = new Intl.DateTimeFormat(undefined, { weekday: "long", month: "long", day: "numeric" });
const otherYear = new Intl.DateTimeFormat(undefined, { dateStyle: "long" });

export const shortTime = (ts) => clock.format(ts);
const exactTime = (ts) => exact.format(ts);
const dayOf = (ts) => new Date(ts).toDateString();

function dayName(ts) {
  const now = new Date();
  if (dayOf(ts) === now.toDateString()) return "Today";
  if (dayOf(ts) === new Date(now.getFullYear(), now.getMonth(), now.getDate() - 1).toDateString()) return "Yesterday";
  return (new Date(ts).getFullYear() === now.getFullYear() ? thisYear : otherYear).format(ts);
}
