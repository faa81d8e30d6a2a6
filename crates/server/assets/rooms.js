// The list of rooms: which there are, what was said last, how much is unread.

import { element } from "/timeline.js";

const ROOMS_PAGE = 200;
const ROOMS_LIVE = 100;
const SHUT = { not_found: "It is gone", not_member: "You are no longer in it" };

/** My rooms as the server lists them, at most as many as the page keeps live. */
export async function myRooms(chat) {
  const mine = [];
  let after;
  do {
    const page = await chat.request({ t: "rooms", after, limit: ROOMS_PAGE });
    mine.push(...page.rooms);
    after = page.more ? page.rooms.at(-1)?.id : undefined;
  } while (after && mine.length < ROOMS_LIVE);
  return mine.slice(0, ROOMS_LIVE);
}

export class RoomList {
  constructor({ list, hint }) {
    Object.assign(this, { list, hint });
    this.faces = new Map();
  }

  /** Draws the rooms one is in, the current one included while its door is still being tried. */
  show(rooms, current) {
    const there = rooms.filter((room) => room.model.status === "open" || room.model.joined || (room === current && room.model.status === "loading"));
    there.sort((a, b) => a.model.name.localeCompare(b.model.name));
    const rows = there.map((room) => this.row(room, room === current));
    const same = rows.length === this.list.children.length && rows.every((row, i) => row === this.list.children[i]);
    if (!same) this.list.replaceChildren(...rows);
    this.hint.hidden = rows.length > 0;
  }

  row(room, current) {
    const { id, model } = room;
    const preview = previewOf(model);
    const unread = current ? 0 : model.unread;
    const face = [model.name, preview, unread, current].join("\u0001");
    const known = this.faces.get(id);
    if (known?.face === face) return known.row;
    const link = element("a", { href: `#/${encodeURIComponent(id)}` }, element("strong", {}, model.name), preview && element("span", { className: "preview" }, preview));
    if (current) link.setAttribute("aria-current", "page");
    if (unread) link.append(element("span", { className: "badge" }, String(Math.min(unread, 999)), element("span", { className: "sr" }, " unread")));
    const row = element("li", {}, link);
    if (known && document.activeElement === known.row.firstChild) queueMicrotask(() => link.focus());
    this.faces.set(id, { row, face });
    return row;
  }
}

/** One line under a room's name: what was said last, or why nothing more comes. */
function previewOf(model) {
  if (model.shut) return SHUT[model.code] ?? "You were removed";
  const latest = model.latest();
  if (!latest) return model.n ? "" : "Nothing said yet";
  return `${latest.by === model.me ? "You" : latest.by ?? ""}: ${latest.text}`.slice(0, 120);
}
