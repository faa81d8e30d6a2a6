// tertulia.v1 for the browser: two files, no dependency.
//
//   import { connect } from "/tertulia.js";
//   const chat = connect({ token: async () => "…" });
//   const room = chat.open("garden", { onEvent: e => console.log(e.by, e.d.text) });
//   await room.send({ text: "hello" });      // resolves once it is durable
//
// `core.js` knows the protocol; here it gets a socket, a clock and a token.
//
// Never: keeps the session anywhere but in memory (a duplicated tab is another session).

import { Core } from "./core.js";

const BACKOFF_MS = 500;
const BACKOFF_MS_MAX = 20_000;
const STEADY_MS = 10_000;
const HELLO_WAIT_MS = 15_000;
const PROBE_MS = 5_000;

/** Full jitter: a crowd that lost its server does not come back as one. */
export function backoffMs(attempt, random = Math.random) {
  return Math.min(BACKOFF_MS_MAX, BACKOFF_MS * 2 ** attempt) * random();
}

/** A name for a message: UUIDv7, so names sort by time. */
export function newCid(now = Date.now()) {
  const b = crypto.getRandomValues(new Uint8Array(16));
  for (let i = 0; i < 6; i++) b[i] = Math.floor(now / 2 ** (40 - 8 * i)) & 255;
  b[6] = 0x70 | (b[6] & 15);
  b[8] = 0x80 | (b[8] & 63);
  const hex = Array.from(b, (x) => x.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/** What the server refused: `code` is a stable word, `retry_ms` is there when trying again makes sense. */
export class Refused extends Error {
  constructor({ code, msg, retry_ms }) {
    super(msg ?? code);
    Object.assign(this, { code, retry_ms });
  }
}

/**
 * Opens a connection and keeps it.
 *
 * `token`: async () => string, called at the start and whenever a new one is needed; an error with `stop: true`
 * ends the client, any other is tried again. `onState({ state, code?, retry_at? })`: connecting, online,
 * waiting, stopped. `url`: the endpoint, by default on the origin this file came from.
 */
export function connect(options) {
  const client = new Client(options);
  client.dial();
  return client;
}

export class Client {
  constructor({ token, url, onState = () => {}, want, agent, env = {} }) {
    this.provider = token;
    this.url = url ?? new URL("/v1/ws", import.meta.url).href.replace(/^http/, "ws");
    this.onState = onState;
    this.env = {
      WebSocket: globalThis.WebSocket,
      now: () => Date.now(),
      setTimeout: (f, ms) => setTimeout(f, ms),
      clearTimeout: (timer) => clearTimeout(timer),
      random: Math.random,
      ...env,
    };
    this.rooms = new Map();
    this.core = new Core({
      now: this.env.now,
      say: (object) => this.socket.send(JSON.stringify(object)),
      hand: (room, event) => this.rooms.get(room)?.handed(event),
      tell: (notice) => this.told(notice),
      want,
      agent,
    });
    this.state = "connecting";
    this.attempts = 0; //     since it last held for STEADY_MS
    this.socket = null;
    this.deadline = Infinity; // hear something before this
    this.timer = null;
    this.retry = null;
    this.hurried = false;
    this.page = globalThis.window?.document ? new AbortController() : null;
    if (this.page) {
      const { signal } = this.page;
      window.addEventListener("online", () => this.wake(), { signal });
      window.addEventListener("offline", () => this.probe(), { signal });
      window.addEventListener("focus", () => this.probe(), { signal });
      document.addEventListener("visibilitychange", () => document.hidden || this.wake(), { signal });
    }
  }

  get user() {
    return this.core.user;
  }

  /** Opens a room. `position` is what `room.position` was when the events before it were stored. */
  open(name, { position, outbox = [], ...on } = {}) {
    const room = this.rooms.get(name) ?? new Room(this, name);
    this.rooms.set(name, room);
    Object.assign(room.on, on);
    this.core.open(name, position);
    for (const m of outbox) this.core.send(name, m); // a failed one stays failed until the user decides
    this.schedule();
    return room;
  }

  /** Any command, e.g. `{ t: "room", op: "create", room: "garden", kind: "public" }`. Waits for the connection. */
  request(command) {
    return new Promise((resolve, reject) => {
      this.core.request(command, (reply) => (reply.t === "ok" ? resolve(reply) : reject(new Refused(reply))));
      this.schedule();
    });
  }

  /** Connects now instead of after the wait. */
  tryNow() {
    if (this.state === "waiting" || this.state === "stopped") this.dial();
  }

  close() {
    this.page?.abort();
    this.drop();
    this.setState("stopped");
  }

  // ---- connecting ----

  async dial() {
    this.drop();
    const connection = this.core.connection;
    const current = () => connection === this.core.connection;
    this.setState("connecting");
    try {
      this.token ??= await this.provider();
    } catch (error) {
      if (!current()) return;
      return error.stop ? this.setState("stopped", { code: error.code, error }) : this.later({ error });
    }
    if (current()) this.dialWith(this.token);
  }

  dialWith(token) {
    const hello = this.core.connect(token);
    const connection = this.core.connection;
    const current = () => connection === this.core.connection;
    const socket = new this.env.WebSocket(this.url, "tertulia.v1");
    this.socket = socket;
    this.ping_s = 25;
    this.since = this.env.now();
    this.deadline = this.since + HELLO_WAIT_MS;
    socket.onopen = () => current() && socket.send(JSON.stringify(hello));
    socket.onmessage = ({ data }) => {
      if (!current()) return;
      if (this.core.up) this.deadline = this.env.now() + (this.ping_s + 10) * 1000;
      for (const line of String(data).split("\n")) this.core.heard(parsed(line), connection);
      this.schedule();
    };
    socket.onclose = ({ code }) => current() && this.closed(code);
    this.schedule();
  }

  /** Lets go of the socket: what it says from now on is ignored. */
  drop() {
    this.env.clearTimeout(this.retry);
    this.env.clearTimeout(this.timer);
    this.timer = this.retry = null;
    this.deadline = Infinity;
    this.core.cut();
    const socket = this.socket;
    this.socket = null;
    if (socket) Object.assign(socket, { onopen: null, onmessage: null, onclose: null }).close();
  }

  closed(close_code) {
    const { code, then, wait_ms } = this.core.cut(close_code);
    if (this.state === "online" && this.env.now() - this.since >= STEADY_MS) this.attempts = 0;
    this.drop();
    if (then === "stop") return this.setState("stopped", { code });
    if (then === "token") this.token = null;
    this.later({ code, wait_ms, at_once: then === "token" && this.attempts === 0 });
  }

  later({ code, error, wait_ms, at_once }) {
    const delay_ms = wait_ms ?? (at_once ? 0 : backoffMs(this.attempts, this.env.random));
    this.attempts += 1;
    this.asked = wait_ms !== undefined;
    this.retry = this.env.setTimeout(() => {
      this.hurried = false;
      this.dial();
    }, delay_ms);
    this.setState("waiting", { code, error, retry_at: this.env.now() + delay_ms });
  }

  /** The network or the page is back: one try at once, unless the server asked for this wait. */
  wake() {
    if (this.state === "waiting" && !this.hurried && !this.asked) {
      this.hurried = true;
      this.dial();
    } else this.probe();
  }

  /** Is the connection still there? Asks, and gives it a few seconds instead of a whole ping interval. */
  probe() {
    if (this.state !== "online") return;
    this.core.heads();
    this.deadline = Math.min(this.deadline, this.env.now() + PROBE_MS);
    this.schedule();
  }

  // ---- time ----

  /** One timer for everything that waits. It may fire early, never late. */
  schedule() {
    const at = Math.min(this.deadline, this.core.wakeAt());
    if (this.timer && this.timerAt <= at) return;
    this.env.clearTimeout(this.timer);
    this.timer = null;
    if (at === Infinity) return;
    this.timerAt = at;
    this.timer = this.env.setTimeout(() => this.tick(), Math.max(0, at - this.env.now()));
  }

  tick() {
    this.timer = null;
    if (this.env.now() >= this.deadline) return this.closed(1006);
    this.core.tick();
    this.schedule();
  }

  // ---- what the core tells ----

  told(notice) {
    if (notice.room) return this.rooms.get(notice.room)?.told(notice);
    if (notice.what === "auth_due") this.renew();
    if (notice.what === "online") {
      this.ping_s = notice.ping_s;
      this.since = this.env.now();
      this.deadline = this.since + (this.ping_s + 10) * 1000;
      this.hurried = false;
      this.setState("online");
    }
  }

  /** Renews the token on the open connection. If that fails the server closes with 4101 and we dial anew. */
  async renew() {
    try {
      this.token = await this.provider();
      await this.request({ t: "auth", token: this.token });
    } catch {
      this.token = null;
    }
  }

  setState(state, detail = {}) {
    this.state = state;
    guarded(this.onState, { state, ...detail });
  }
}

/** An open room. `onEvent(event)`, `onSignal(kind, d)`, `onNotice({ what, … })` hear what happens in it. */
export class Room {
  constructor(client, name) {
    Object.assign(this, { client, name, on: {}, outcomes: new Map() });
  }

  /** Store it together with the events handed over so far, and give it back to `open`. */
  get position() {
    const room = this.client.core.rooms.get(this.name);
    return room.epoch === null ? undefined : { epoch: room.epoch, last: room.last };
  }

  /** What was not acknowledged yet, to store and give back to `open`. */
  get outbox() {
    return this.client.core.rooms.get(this.name).outbox;
  }

  /** Sends a message; resolves with `{ seq, ts, n }` once it is durable. Lives through lost connections. */
  send(d, { cid = newCid(), ...more } = {}) {
    const outcome = new Promise((resolve, reject) => this.outcomes.set(cid, { resolve, reject }));
    this.client.core.send(this.name, { cid, d, ...more });
    this.client.schedule();
    return outcome;
  }

  retry(cid) {
    this.client.core.retry(this.name, cid);
    this.client.schedule();
  }

  discard(cid) {
    this.client.core.discard(this.name, cid);
    this.outcomes.delete(cid);
  }

  /** Says that the user is typing, or no longer is. Lost when offline, as it should be. */
  typing(on) {
    if (this.client.core.up) this.client.core.say({ t: "typing", room: this.name, on });
  }

  /** A transient signal of your own, kind `x.*`. */
  signal(k, d) {
    if (this.client.core.up) this.client.core.say({ t: "signal", room: this.name, k, d });
  }

  /** Raw events after `after` up to `upto`, oldest first; may be fewer, then `more` is set. */
  async log({ after, upto, limit }) {
    const epoch = this.position?.epoch;
    const reply = await this.client.request({ t: "log", room: this.name, epoch, after, upto, limit });
    for (const e of reply.evs) this.client.core.settle(e);
    return reply;
  }

  /** The room on the screen: it comes first when the connection is made again. */
  prefer() {
    this.client.core.prefer(this.name);
  }

  close() {
    this.client.core.close(this.name);
    this.client.schedule();
  }

  handed(event) {
    guarded(this.on.onEvent, event);
  }

  told(notice) {
    if (notice.what === "signal") return guarded(this.on.onSignal, notice.k, notice.d);
    const outcome = this.outcomes.get(notice.cid);
    if (notice.what === "sent") outcome?.resolve({ seq: notice.seq, ts: notice.ts, n: notice.n });
    if (notice.what === "failed") outcome?.reject(new Refused(notice));
    if (outcome) this.outcomes.delete(notice.cid);
    guarded(this.on.onNotice, notice);
  }
}

/** Calls back; what the application throws is its own and must not stop the delivery. */
function guarded(callback, ...args) {
  try {
    callback?.(...args);
  } catch (error) {
    console.error(error);
  }
}

function parsed(line) {
  try {
    return JSON.parse(line) ?? {};
  } catch {
    return {};
  }
}
