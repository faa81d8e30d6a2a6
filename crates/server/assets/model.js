// What the page knows of one room: the events it holds, told as messages and notes.
//
// Holds every event of (low, last] exactly once, whatever order pages and live events arrive in.
// Never: touches the document, the socket or the storage.

const KEPT_EVENTS = 200;
const GROUP_MS = 5 * 60_000;

export class RoomModel {
  constructor(id, me) {
    Object.assign(this, { id, me, name: id, status: "loading", code: null });
    this.role = null;
    this.joined = false; //     the user was in, since it was opened or before a reload
    this.pending = []; //       our own, not yet in the log: { key, cid, text, ts, by, state, code }
    this.unread = 0;
    this.line = null; //        unread begins after this seq
    this.read = null; //        { epoch, seq, n }
    this.typing = [];
    this.clear(null);
  }

  /** Forgets what was held: the first attachment, a reset, a hole. */
  clear(low) {
    this.low = low; //          everything in (low, last] is here
    this.last = low;
    this.first = 1; //          oldest event the server keeps
    this.n = 0;
    this.events = []; //        the newest, as they came, for the storage
    this.shown = []; //         what is on the screen, by seq
    this.changes = new Map(); // seq of a message -> its newest edit or deletion
    this.people = new Map(); //  user -> { seq, in }
  }

  /** The door was shut, before or after the user came in; `code` says why. */
  get shut() {
    return this.status === "refused" || this.status === "removed";
  }

  get hasOlder() {
    return this.low !== null && this.low >= this.first;
  }

  /** A live event, the next one. */
  append(e) {
    this.last = e.seq;
    if (e.n !== undefined) this.n = e.n;
    this.events.push(e);
    if (this.events.length > 2 * KEPT_EVENTS) this.events = this.events.slice(-KEPT_EVENTS);
    const entry = this.take(e);
    if (!entry) return null;
    if (entry.cid) {
      // The message keeps its place in the document when it turns from ours-to-be into everyone's.
      const mine = entry.by === this.me && this.pending.findIndex((p) => p.cid === entry.cid);
      if (mine !== false && mine >= 0) this.pending.splice(mine, 1);
    }
    this.shown.push(entry);
    return entry;
  }

  /** Older events, ending right below what is held; returns how many entries came on top. */
  prepend(events, low) {
    const fresh = events.filter((e) => e.seq > low && e.seq <= this.low);
    const entries = fresh.map((e) => this.take(e)).filter(Boolean);
    this.shown.unshift(...entries);
    if (this.events.length < KEPT_EVENTS) this.events.unshift(...fresh.slice(this.events.length - KEPT_EVENTS));
    this.low = low;
    return entries.length;
  }

  /** Reads one event: returns what to show for it, if anything. Edits and deletions change their message. */
  take(e) {
    const { seq, ts, by, k, d } = e;
    const note = (text) => ({ key: `s${seq}`, note: true, seq, ts, by, text });
    const who = (user) => (user === this.me ? "You" : user ?? "The application");
    switch (k) {
      case "msg": {
        this.meet(by, seq, true, true);
        const key = by === this.me && e.cid ? `c${e.cid}` : `s${seq}`;
        const entry = { key, seq, ts, by, cid: e.cid, text: textOf(d) };
        return Object.assign(entry, this.changes.get(seq)?.now);
      }
      case "void":
        return { key: `s${seq}`, seq, ts, by, text: "", gone: true };
      case "edit":
        return this.change(e, { text: textOf(d), edited: true });
      case "del":
        return this.change(e, { text: "", gone: true });
      case "join":
        this.meet(e.u ?? by, seq, true);
        return seq === 2 ? null : note(`${who(e.u ?? by)} joined`);
      case "leave": {
        this.meet(e.u ?? by, seq, false);
        const out = { kicked: "removed", banned: "banned" }[e.why];
        return note(out ? `${who(e.u ?? by)} ${e.u === this.me ? "were" : "was"} ${out}` : `${who(e.u ?? by)} left`);
      }
      case "role":
        return note(`${who(e.u)} ${e.u === this.me ? "are" : "is"} now ${e.role}`);
      case "room":
        if (e.name) this.name = e.name;
        return note(seq === 1 ? `${who(by)} made this room` : `${who(by)} changed the room`);
      default:
        return null; // x.* and whatever comes later: counted, not shown
    }
  }

  change(e, now) {
    if (e.seq < (this.changes.get(e.of)?.seq ?? 0)) return null;
    this.changes.set(e.of, { seq: e.seq, now });
    const entry = this.shown.find((s) => s.seq === e.of);
    if (entry) Object.assign(entry, now);
    return null;
  }

  meet(user, seq, present, weak = false) {
    if (!user) return;
    const known = this.people.get(user);
    if (!known || (seq > known.seq && !weak)) this.people.set(user, { seq, in: present });
  }

  /** Who is here, as far as the events held tell. */
  names() {
    const there = [...this.people].filter(([, p]) => p.in).map(([user]) => user);
    return there.filter((user) => user !== this.me).sort().concat(there.includes(this.me) ? ["you"] : []);
  }

  latest() {
    return this.pending.at(-1) ?? this.shown.findLast((s) => !s.note && !s.gone) ?? null;
  }

  // ---- our own messages on their way ----

  sending(cid, text, ts, state = "sending", code) {
    this.pending.push({ key: `c${cid}`, cid, text, ts, by: this.me, state, code });
  }

  mark(cid, state, code) {
    const p = this.pending.find((m) => m.cid === cid);
    if (p) Object.assign(p, { state, code });
  }

  discard(cid) {
    this.pending = this.pending.filter((p) => p.cid !== cid);
  }

  // ---- reading ----

  /** Everything up to now was seen. */
  seen(epoch) {
    this.unread = 0;
    if (this.last !== null) this.read = { epoch, seq: this.last, n: this.n };
  }

  /** Counts anew what is held and was not seen, after a reload. */
  recount() {
    const { read, me } = this;
    this.unread = read ? this.shown.filter((e) => !e.note && !e.gone && e.by !== me && e.seq > read.seq).length : 0;
  }

  // ---- storage ----

  save(position, outbox) {
    const events = this.shut ? [] : this.events.slice(-KEPT_EVENTS); // what may no longer be read is not kept
    return { ...position, low: events.length ? events[0].seq - 1 : this.last, first: this.first, n: this.n, name: this.name, events, outbox };
  }

  restore(saved) {
    this.clear(saved.low);
    Object.assign(this, { first: saved.first, n: saved.n, name: saved.name });
    for (const e of saved.events) this.append(e);
    this.last = saved.last;
    for (const m of saved.outbox) this.sending(m.cid, textOf(m.d), m.first ?? Date.now(), m.state === "failed" ? "failed" : "sending", m.code);
  }
}

/** Does `entry` stand under the name of the one before it? */
export function grouped(before, entry) {
  return Boolean(before) && !before.note && !entry.note && before.by === entry.by && entry.ts - before.ts < GROUP_MS;
}

function textOf(d) {
  return typeof d?.text === "string" ? d.text : JSON.stringify(d, null, 1) ?? "";
}

// ---- people ----

/** A hue for a user, the same everywhere; the style sheet gives it a lightness that white text can stand on. */
export function hueOf(user) {
  let h = 2166136261;
  for (const c of user) h = Math.imul(h ^ c.codePointAt(0), 16777619);
  return ((h ^ (h >>> 15)) >>> 0) % 360;
}

export function initialsOf(user) {
  const parts = user.split(/[^\p{L}\p{N}]+/u).filter(Boolean);
  const letters = parts.length > 1 ? parts[0].slice(0, 1) + parts[1].slice(0, 1) : (parts[0] ?? "?").slice(0, 2);
  return letters.toUpperCase();
}

/** A room id from what someone typed: "Café del Río" is `cafe-del-rio`. */
export function roomIdOf(typed) {
  const plain = typed.normalize("NFKD").replace(/\p{M}/gu, "").trim();
  const id = /^[A-Za-z0-9._:-]{1,64}$/.test(plain) ? plain : plain.toLowerCase().replace(/[^a-z0-9._:-]+/g, "-").replace(/^-+|-+$/g, "");
  return id.slice(0, 64);
}
