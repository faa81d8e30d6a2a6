// The list of messages: a window onto a room's entries, anchored at the bottom.
//
// Only some hundreds of entries stand in the document however many the room holds, so a long room scrolls like a
// short one. New messages never move what is being read: what is first on the screen stays where it is.

import { grouped, hueOf, initialsOf } from "/model.js";

const WINDOW = 300;
const STEP = 100;
const NEAR_PX = 800;
const LONG_CHARS = 1500;
const LONG_LINES = 24;

export class Timeline {
  /** `older()` is called when the top comes near, `moved()` when the bottom was reached or left. */
  constructor({ scroller, list, older, moved, retry, discard }) {
    Object.assign(this, { scroller, list, older, moved, retry, discard });
    this.rows = new Map(); //  key -> { el, face }
    this.open = new Set(); //  long messages shown in full
    this.stuck = true; //      at the bottom, and staying there
    scroller.addEventListener("scroll", () => this.scrolled(), { passive: true });
    new ResizeObserver(() => this.stuck && this.toEnd()).observe(scroller);
  }

  /** Shows another room, at its end. */
  show(model) {
    this.model = model;
    this.open.clear();
    this.jump();
  }

  /** Goes to the newest message. */
  jump() {
    this.stuck = true;
    this.end = 0;
    this.from = Math.max(0, this.model.shown.length - STEP);
    this.to = this.model.shown.length;
    this.render();
  }

  /** `count` entries came on top of the ones known. */
  prepended(count) {
    this.from += count;
    this.to += count;
    if (this.to - this.from < STEP) this.from = Math.max(0, this.to - STEP);
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
    // A hand may have moved the list since the last scroll event.
    if (this.stuck && this.scroller.scrollTop < this.end - 8 && this.below() >= 32) {
      this.stuck = false;
      this.moved();
    }
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
    if (this.stuck) this.toEnd();
    else if (anchor) this.scroller.scrollTop += this.rows.get(anchor.key).el.getBoundingClientRect().bottom - anchor.bottom;
    this.wantOlder();
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

  toEnd() {
    this.scroller.scrollTop = this.scroller.scrollHeight;
    this.end = this.scroller.scrollTop;
  }

  below() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    return scrollHeight - scrollTop - clientHeight;
  }

  scrolled() {
    if (!this.model) return;
    const { scrollTop } = this.scroller;
    const below = this.below();
    // While it sticks, the newest may not be drawn yet, and a resize may come between our scroll and its event:
    // only a hand that moves the list up lets go.
    const stuck = below < 32 ? this.stuck || this.to === this.model.shown.length : this.stuck && scrollTop >= this.end - 8;
    if (stuck !== this.stuck) {
      this.stuck = stuck;
      this.moved();
    }
    if (scrollTop < NEAR_PX && this.from > 0) {
      this.from = Math.max(0, this.from - STEP);
      if (!this.stuck) this.to = Math.min(this.to, this.from + WINDOW);
      this.render();
    } else if (below < NEAR_PX && this.to < this.model.shown.length) {
      this.to = Math.min(this.model.shown.length, this.to + STEP);
      this.from = Math.max(this.from, this.to - WINDOW);
      this.render();
    } else this.wantOlder();
  }

  wantOlder() {
    if (this.from === 0 && this.scroller.scrollTop < NEAR_PX && this.model.hasOlder) this.older();
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
    if (entry.state === "failed") {
      body.append(
        element("p", { className: "failed" }, element("span", {}, failure(entry.code)),
          element("button", { type: "button", onclick: () => this.retry(entry.cid) }, "Retry"),
          element("button", { type: "button", onclick: () => this.discard(entry.cid) }, "Discard")),
      );
    }
    article.append(body);
    return article;
  }

  text(entry, tail) {
    const long = entry.text.length > LONG_CHARS || entry.text.split("\n").length > LONG_LINES;
    const clamped = long && !this.open.has(entry.key);
    const p = element("p", { className: clamped ? "text clamped" : "text" }, ...linked(entry.text));
    if (entry.edited) p.append(element("span", { className: "edited" }, " (edited)"));
    if (!clamped && tail) p.append("\u00a0", tail); // the mark never stands on a line of its own
    if (!long) return p;
    const toggle = () => {
      if (!this.open.delete(entry.key)) this.open.add(entry.key);
      this.stuck = false;
      this.render();
      this.scrolled();
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

function mark(state) {
  return element("span", { className: `mark ${state}`, title: MARKS[state] }, icon(`i-${state}`), element("span", { className: "sr" }, MARKS[state]));
}

const FAILURES = {
  too_large: "Not sent: it is too long. Discard it and send it in parts.",
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
