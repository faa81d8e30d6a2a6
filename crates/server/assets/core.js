// The protocol tertulia.v1, alone: which event is next, when to ask again, what must be resent.
//
// No socket, no clock and no storage, so the same transcripts that test the server test it. `tertulia.js`
// gives it those.
//
// Never: hands over an event twice or out of order, or closes a connection over a gap.

const HELLO_BYTES = 16 * 1024;
const HEADS_EVERY_MS = 5 * 60_000;
const LAG_AGAIN_MS = 5_000;
const LAG_WAIT_MS = 1_000;

/** What this client knows of one room. `epoch === null` means: no position yet; `last` 0 is a position. */
class RoomState {
  constructor(epoch = null, last = 0) {
    this.epoch = epoch;
    this.last = last;
    this.wanted = false; //      the application has it open
    this.gone = null; //         the code of a refusal that is final until the application opens it again
    this.attached = false; //    live events follow
    this.sub = 0; //             id of the one unanswered `sub`
    this.due = false; //         a `sub` is wanted: gap, lag, paging, heads, the application
    this.waitUntil = 0; //       not before this time; counts as unanswered
    this.upto = null; //         detached while a page is replayed up to here
    this.unsubs = 0; //          unanswered `unsub`s: until then events are ignored
    this.unsubDue = false;
    this.laggedAt = -Infinity;
    this.catching = null; //     { to, messages } while missed events come in
    this.outbox = []; //         oldest first: { cid, d, k?, re?, thread?, epoch?, first, state }
    this.holdUntil = 0; //       the outbox rests until then
  }
}

/**
 * The protocol, alone. `say(object)` sends on the current connection, `hand(room, event)` gives an event to the
 * application, `tell({ room, what, … })` tells it the rest; `now()` is any clock in ms.
 */
export class Core {
  constructor({ now, say, hand, tell, rooms = {}, want = ["typing"], agent = "web" }) {
    Object.assign(this, { now, say, hand, tell, want, agent });
    this.rooms = new Map(Object.entries(rooms).map(([name, p]) => [name, new RoomState(p.epoch, p.last)]));
    this.user = null;
    this.session = undefined;
    this.limits = { inflight: 64, dedup_s: 604_800 };
    this.feat = [];
    this.skew = 0; //              server clock - ours
    this.connection = 0; //        frames of any other connection are ignored
    this.up = false; //            hello was answered
    this.lastId = 0;
    this.unanswered = new Map(); // id -> what to do with its reply
    this.waiting = []; //          requests not yet sent
    this.headsAt = Infinity;
    this.bye = null;
  }

  // ---- the connection ----

  /** A new connection begins: returns its hello. Whatever the one before still says no longer counts. */
  connect(token) {
    this.cut();
    const id = this.nextId((reply) => this.welcomed(reply));
    const hello = { t: "hello", id, token, agent: this.agent, session: this.session, rooms: [], want: this.want };
    let bytesLeft = HELLO_BYTES - JSON.stringify(hello).length;
    for (const [name, room] of this.rooms) {
      if (!room.wanted || room.gone) continue;
      const entry = room.epoch === null ? [name] : [name, room.epoch, room.last];
      bytesLeft -= JSON.stringify(entry).length + 1;
      if (bytesLeft < 0) break; // the rest is subscribed behind the hello
      hello.rooms.push(entry);
      room.sub = id;
    }
    return hello;
  }

  /**
   * The connection is lost, closed with `code`. Positions and the outbox stay; everything that belonged to it
   * goes. Returns what to do: `{ code, then, wait_ms }`, see `afterClose`; without `wait_ms` back off.
   */
  cut(code = 1006) {
    const bye = this.bye ?? { code }; // it came in order; the close frame is often lost
    this.bye = null;
    this.connection += 1;
    this.up = false;
    this.headsAt = Infinity;
    const answers = [...this.unanswered.values()];
    this.unanswered.clear();
    for (const room of this.rooms.values()) {
      Object.assign(room, { attached: false, sub: 0, waitUntil: 0, upto: null, unsubs: 0, unsubDue: false });
      room.due = room.wanted && !room.gone;
      for (const m of room.outbox) if (m.state === "flying") m.state = "waiting";
    }
    for (const answer of answers) answer.lost?.();
    return { code: bye.code ?? code, then: afterClose(bye.code ?? code), wait_ms: bye.retry_ms };
  }

  welcomed(reply) {
    if (reply.t === "err") return this.tell({ what: "refused", code: reply.code, msg: reply.msg });
    this.up = true;
    this.user = reply.user ?? this.user;
    this.session = reply.session;
    this.feat = reply.feat ?? [];
    Object.assign(this.limits, reply.limits);
    this.learnClock(reply.now);
    this.headsAt = this.now() + HEADS_EVERY_MS;
    this.tell({ what: "online", user: this.user, ping_s: reply.ping_s ?? 25 });
    for (const [name, result] of Object.entries(reply.rooms ?? {})) {
      const room = this.rooms.get(name);
      if (room?.sub === reply.id) this.subscribed(name, room, result);
    }
    // A room the hello named and the answer did not: ask again.
    for (const room of this.rooms.values()) if (room.sub === reply.id) room.sub = 0;
    this.drain();
  }

  learnClock(serverNow) {
    if (serverNow !== undefined) this.skew = serverNow - this.now();
  }

  // ---- what the server says ----

  /** One object from the server, heard on `connection`. */
  heard(object, connection = this.connection) {
    if (connection !== this.connection) return;
    const room = this.rooms.get(object.room);
    switch (object.t) {
      case "ok":
      case "err":
        return this.replied(object);
      case "ev":
        return room && this.event(object, room);
      case "sig":
        return room?.wanted && this.tell({ room: object.room, what: "signal", k: object.k, d: object.d });
      case "lag":
        return room && this.lagged(room);
      case "drop":
        return room && this.dropped(object.room, room, object.code);
      case "ping":
        return this.up && this.say({ t: "pong" });
      case "bye":
        return void (this.bye = object);
      case "auth_due":
        return this.tell({ what: "auth_due" });
    }
  }

  replied(reply) {
    const answer = this.unanswered.get(reply.id);
    if (!answer) return;
    this.unanswered.delete(reply.id);
    answer(reply);
    this.drain();
  }

  // ---- the delivery rule (docs/protocol.md, "Subscribe, replay, live") ----

  event(e, room) {
    if (!room.wanted || room.unsubs || room.unsubDue || room.epoch === null) return;
    if (e.seq <= room.last) return; // seen
    if (e.seq > room.last + 1) return this.need(room); // a gap: ask, from what we have
    room.last = e.seq;
    this.hand(e.room, e); // kinds we do not know are the application's to ignore
    this.settle(e);
    this.countCaughtUp(e, room);
    if (room.upto !== null && room.last >= room.upto) this.need(room); // next page
  }

  /** Something is missing. At most one `sub` is unanswered, so this only raises the flag; `drain` acts. */
  need(room) {
    room.due = room.wanted;
    this.drain();
  }

  sub(name, room) {
    room.due = false;
    room.waitUntil = 0;
    const position = room.epoch === null ? {} : { epoch: room.epoch, seq: room.last };
    room.sub = this.command({ t: "sub", room: name, ...position }, (reply) => this.subscribed(name, room, reply));
  }

  /** The answer to a `sub`, or a room's part of the hello's. Every one is applied. */
  subscribed(name, room, ok) {
    room.sub = 0;
    room.attached = false;
    room.upto = null;
    if (ok.code !== undefined) {
      if (ok.retry_ms === undefined) return this.gone(name, room, ok.code);
      room.waitUntil = this.now() + ok.retry_ms;
      room.due = room.wanted;
      return;
    }
    const before = room.epoch === null ? null : room.last;
    const same = ok.epoch === room.epoch && !ok.reset;
    room.gone = null;
    room.epoch = ok.epoch;
    // The attachment that was replaced may have moved `last` past `base` in the meantime.
    room.last = same ? Math.max(room.last, ok.base) : ok.base;
    if (before !== null && !same) this.tell({ room: name, what: "reset", epoch: ok.epoch, base: ok.base });
    if (same && ok.hole && ok.base > before) this.tell({ room: name, what: "hole", after: before, upto: ok.base });
    if (same && ok.head > room.last) room.catching = { messages: 0, ...room.catching, to: ok.head };
    else if (!same) room.catching = null;

    if (!room.unsubs && !room.unsubDue) {
      room.attached = !ok.more;
      room.due = Boolean(ok.more && room.last >= ok.upto);
      if (ok.more) room.upto = ok.upto;
    }
    const { epoch, base, upto, head, first, n, role } = ok;
    this.tell({ room: name, what: "attached", epoch, base, upto, head, first, n, role, more: Boolean(ok.more) });
  }

  lagged(room) {
    room.attached = false;
    const again = this.now() - room.laggedAt < LAG_AGAIN_MS;
    room.laggedAt = this.now();
    if (again && !room.sub) room.waitUntil = Math.max(room.waitUntil, this.now() + LAG_WAIT_MS);
    this.need(room);
  }

  dropped(name, room, code) {
    room.attached = false;
    room.upto = null;
    if (code === "reset") return this.need(room);
    // With a `sub` on its way this speaks of the attachment before it; the reply decides.
    if (room.sub) this.tell({ room: name, what: "dropped", code });
    else this.gone(name, room, code);
  }

  gone(name, room, code) {
    room.due = false;
    room.waitUntil = 0;
    room.gone = code;
    this.tell({ room: name, what: "dropped", code });
  }

  countCaughtUp(e, room) {
    const catching = room.catching;
    if (!catching) return;
    if (e.k === "msg") catching.messages += 1;
    if (e.seq < catching.to) return;
    room.catching = null;
    this.tell({ room: e.room, what: "caught_up", messages: catching.messages });
  }

  /** Asks for the heads of the attached rooms: finds a lost tail or a lost attachment. On wake, on focus. */
  heads() {
    this.headsAt = this.now() + HEADS_EVERY_MS;
    if (!this.up || this.full()) return;
    const asked = [...this.rooms].filter(([, room]) => room.attached && !room.sub);
    this.command({ t: "ping", heads: true }, (reply) => {
      this.learnClock(reply.now);
      for (const [name, room] of asked) {
        const [epoch, head] = reply.heads?.[name] ?? [];
        if (reply.t === "ok" && (epoch !== room.epoch || head > room.last)) this.need(room);
      }
    });
  }

  // ---- what the application asks ----

  /** Subscribes `name`, from `position` if the application kept one. */
  open(name, position) {
    const room = this.rooms.get(name) ?? new RoomState();
    this.rooms.set(name, room);
    if (position && room.epoch === null) Object.assign(room, { epoch: position.epoch, last: position.last });
    room.wanted = true;
    room.gone = null;
    if (!room.attached) this.need(room);
  }

  close(name) {
    const room = this.rooms.get(name);
    if (!room?.wanted) return;
    room.unsubDue = this.up || room.sub !== 0; // a hello on its way will attach it
    Object.assign(room, { wanted: false, due: false, attached: false, upto: null, waitUntil: 0 });
    this.drain();
  }

  /** Puts a room first in the next hello: the one on the screen is answered before the others. */
  prefer(name) {
    const room = this.rooms.get(name);
    if (room) this.rooms = new Map([[name, room], ...this.rooms]);
  }

  /** Any other command; `answer` gets its reply. One that was on its way when the connection broke gets `lost`. */
  request(command, answer) {
    answer.lost = () => answer({ t: "err", code: "disconnected", msg: "the connection broke before the answer" });
    this.waiting.push({ command, answer });
    this.drain();
  }

  // ---- sending ----

  /** Queues a message. The same bytes go out under the same `cid` until there is an outcome. */
  send(name, { cid, d, k, re, thread, epoch, first = null, state, code }) {
    const room = this.rooms.get(name) ?? new RoomState();
    this.rooms.set(name, room);
    if (room.outbox.some((m) => m.cid === cid)) return;
    const resting = state === "failed" ? { state, code } : { state: "waiting" };
    room.outbox.push({ cid, d: JSON.parse(JSON.stringify(d)), k, re, thread, epoch, first, ...resting });
    this.drain();
  }

  /** Tries a failed message again, on the user's word. */
  retry(name, cid) {
    const m = this.message(name, cid);
    if (m?.state !== "failed") return;
    Object.assign(m, { state: "waiting", first: null });
    this.drain();
  }

  /** Forgets a message. One already on its way may still arrive. */
  discard(name, cid) {
    const room = this.rooms.get(name);
    if (room) room.outbox = room.outbox.filter((m) => m.cid !== cid);
  }

  message(name, cid) {
    return this.rooms.get(name)?.outbox.find((m) => m.cid === cid);
  }

  /** Sends what waits, oldest first; each names its nearest unsettled predecessor, so order survives retries. */
  pump(name, room) {
    if (this.now() < room.holdUntil) return;
    let prev;
    for (const m of [...room.outbox]) {
      if (m.state === "failed") continue;
      if (m.state === "waiting") {
        const serverNow = this.now() + this.skew;
        // The server may have forgotten this cid: sending it again could make a second copy.
        if (m.first !== null && serverNow - m.first > this.limits.dedup_s * 1000) {
          this.failed(name, m, { code: "expired", msg: "unanswered for too long, it may have arrived" });
          continue;
        }
        if (this.full()) return;
        m.first ??= serverNow;
        m.state = "flying";
        const { cid, d, k, re, thread, epoch } = m;
        this.command({ t: "send", room: name, cid, d, k, re, thread, epoch, prev }, (reply) => this.sent(name, room, m, reply));
      }
      prev = m.cid;
    }
  }

  sent(name, room, m, reply) {
    if (!room.outbox.includes(m)) return; // its event came first, or it was discarded
    if (reply.t === "ok") return this.durable(name, room, m, reply);
    if (reply.retry_ms === undefined) return this.failed(name, m, reply);
    m.state = "waiting";
    room.holdUntil = Math.max(room.holdUntil, this.now() + reply.retry_ms);
  }

  failed(name, m, { code, msg }) {
    Object.assign(m, { state: "failed", code });
    this.tell({ room: name, what: "failed", cid: m.cid, code, msg });
  }

  durable(name, room, m, { seq, ts, n }) {
    room.outbox = room.outbox.filter((other) => other !== m);
    this.tell({ room: name, what: "sent", cid: m.cid, seq, ts, n });
  }

  /** Our own cid stands in the log: the message is there, whatever an answer said or will say. */
  settle(e) {
    if (e.cid === undefined || e.by !== this.user) return;
    const m = this.message(e.room, e.cid);
    if (m) this.durable(e.room, this.rooms.get(e.room), m, e);
  }

  // ---- the way out ----

  nextId(answer) {
    do this.lastId = (this.lastId % 0x7fffffff) + 1;
    while (this.unanswered.has(this.lastId));
    this.unanswered.set(this.lastId, answer);
    return this.lastId;
  }

  command(command, answer) {
    const id = this.nextId(answer);
    const object = { t: command.t, id, ...command };
    for (const key in object) if (object[key] === undefined) delete object[key];
    this.say(object);
    return id;
  }

  full() {
    return this.unanswered.size >= this.limits.inflight;
  }

  /** Says all that may be said now. */
  drain() {
    if (!this.up) return;
    for (const [name, room] of this.rooms) {
      if (room.unsubDue && !this.full()) {
        room.unsubDue = false;
        room.unsubs += 1;
        const connection = this.connection;
        this.command({ t: "unsub", room: name }, () => connection === this.connection && (room.unsubs -= 1));
      }
      const may = room.due && room.wanted && !room.gone && !room.sub && room.waitUntil <= this.now();
      if (may && !room.unsubDue && !this.full()) this.sub(name, room);
    }
    for (const [name, room] of this.rooms) if (room.outbox.length) this.pump(name, room);
    while (this.waiting.length && !this.full()) {
      const { command, answer } = this.waiting.shift();
      this.command(command, answer);
    }
  }

  /** When `tick` has something to do next, on the clock of `now()`. */
  wakeAt() {
    if (!this.up) return Infinity;
    const times = [this.headsAt];
    for (const room of this.rooms.values()) {
      if (room.due && !room.sub) times.push(room.waitUntil);
      if (room.outbox.some((m) => m.state === "waiting")) times.push(room.holdUntil);
    }
    return Math.min(...times.filter((at) => at > this.now() || at === this.headsAt));
  }

  tick() {
    if (this.now() >= this.headsAt) this.heads();
    this.drain();
  }
}

/** What a close code asks for: `stop`, `token` (a new one, then reconnect) or `backoff`. */
export function afterClose(code) {
  if (code >= 4000 && code < 4100) return "stop";
  if (code >= 4100 && code < 4200) return "token";
  if ([1002, 1003, 1007, 1008, 1009, 1010].includes(code)) return "stop";
  return "backoff";
}
