// The client against a clock and a socket of our own.
// Run: node --test crates/server/assets/tests/client.test.mjs

import { test } from "node:test";
import assert from "node:assert/strict";
import { Client, backoffMs, newCid } from "../tertulia.js";
import { Core, afterClose } from "../core.js";

class Town {
  constructor({ random = 0.5, token } = {}) {
    this.now = 1_796_040_000_000;
    this.timers = new Map();
    this.sockets = [];
    this.states = [];
    this.tokens = 0;
    const town = this;
    class Socket {
      constructor(url, protocol) {
        Object.assign(this, { url, protocol, said: [], closed: false });
        town.sockets.push(this);
      }
      send(text) {
        this.said.push(JSON.parse(text));
      }
      close() {
        this.closed = true;
      }
    }
    this.client = new Client({
      url: "ws://test/v1/ws",
      token: token ?? (async () => `token ${++this.tokens}`),
      onState: (state) => this.states.push(state),
      env: {
        WebSocket: Socket,
        now: () => this.now,
        setTimeout: (f, ms) => {
          const timer = Symbol("timer");
          this.timers.set(timer, { f, at: this.now + ms });
          return timer;
        },
        clearTimeout: (timer) => this.timers.delete(timer),
        random: () => random,
      },
    });
    this.client.dial();
  }

  get socket() {
    return this.sockets.at(-1);
  }

  get state() {
    return this.states.at(-1);
  }

  /** Lets promises settle. */
  async settle() {
    for (let i = 0; i < 20; i++) await null;
  }

  async pass(ms) {
    const end = this.now + ms;
    for (;;) {
      await this.settle();
      const next = [...this.timers].sort(([, a], [, b]) => a.at - b.at)[0];
      if (!next || next[1].at > end) break;
      this.timers.delete(next[0]);
      this.now = Math.max(this.now, next[1].at);
      next[1].f();
    }
    this.now = end;
    await this.settle();
  }

  hears(object, socket = this.socket) {
    socket.onmessage?.({ data: JSON.stringify(object) });
  }

  /** The server answers the hello. */
  async welcome(fields = {}) {
    await this.settle();
    this.socket.onopen();
    const { id } = this.socket.said[0];
    this.hears({ t: "ok", id, user: "ada", session: "s1", now: this.now, ping_s: 25, feat: [], limits: {}, rooms: {}, ...fields });
    await this.settle();
  }

  async cut(code) {
    this.socket.onclose?.({ code });
    await this.settle();
  }

  said(t) {
    return this.socket.said.filter((object) => object.t === t);
  }
}

test("a hello carries the token, and the protocol is asked for", async () => {
  const town = new Town();
  await town.welcome();
  const { t, token, want, rooms } = town.socket.said[0];
  assert.deepEqual({ t, token, want, rooms }, { t: "hello", token: "token 1", want: ["typing"], rooms: [] });
  assert.equal(town.socket.protocol, "tertulia.v1");
  assert.equal(town.state.state, "online");
});

test("the session is said again, but lives in memory only", async () => {
  const town = new Town();
  await town.welcome({ session: "s7" });
  assert.equal(town.socket.said[0].session, undefined);
  await town.cut(1006);
  await town.pass(20_000);
  await town.welcome();
  assert.equal(town.socket.said[0].session, "s7");
});

test("what each close code makes the client do", () => {
  const table = {
    stop: [4000, 4001, 4002, 4003, 4004, 4005, 4006, 4007, 4099, 1002, 1003, 1007, 1008, 1009, 1010],
    token: [4100, 4101, 4102, 4103, 4199],
    backoff: [4200, 4201, 4202, 4203, 4204, 4205, 4300, 1000, 1001, 1005, 1006, 1011, 1012, 1013],
  };
  for (const [action, codes] of Object.entries(table)) for (const code of codes) assert.equal(afterClose(code), action, code);
});

test("backoff doubles up to twenty seconds, and is jittered down to nothing", () => {
  assert.deepEqual([0, 1, 2, 3, 4, 5, 6, 60].map((k) => backoffMs(k, () => 1)), [500, 1000, 2000, 4000, 8000, 16_000, 20_000, 20_000]);
  assert.equal(backoffMs(9, () => 0), 0);
});

test("waits grow while it fails, and start anew after ten seconds connected", async () => {
  const town = new Town({ random: 1 });
  const waits = [];
  for (const held of [0, 5_000, 9_999, 10_000]) {
    await town.welcome();
    await town.pass(held);
    await town.cut(1006);
    waits.push(town.state.retry_at - town.now);
    await town.pass(waits.at(-1));
  }
  assert.deepEqual(waits, [500, 1000, 2000, 500]);
});

test("a stop is a stop: the application is told the code and nobody dials", async () => {
  const town = new Town();
  await town.welcome();
  await town.cut(4006);
  await town.pass(600_000);
  assert.deepEqual([town.state.state, town.state.code, town.sockets.length], ["stopped", 4006, 1]);
});

test("an expired token is replaced at once, a token refused again and again is not asked for in a hurry", async () => {
  const town = new Town({ random: 1 });
  await town.welcome();
  await town.pass(20_000);
  await town.cut(4101);
  await town.pass(0);
  assert.equal(town.sockets.length, 2);
  town.socket.onopen();
  assert.equal(town.socket.said[0].token, "token 2");
  await town.cut(4102);
  assert.equal(town.state.retry_at - town.now, 1000);
});

test("a provider that gives up ends the client, one that fails is tried again", async () => {
  const final = new Town({ token: async () => { throw Object.assign(new Error("ask the user"), { stop: true, code: "token_expired" }); } });
  await final.settle();
  assert.deepEqual([final.state.state, final.state.code], ["stopped", "token_expired"]);

  let calls = 0;
  const shaky = new Town({ token: async () => { if (++calls === 1) throw new Error("no network"); return "token"; } });
  await shaky.settle();
  assert.equal(shaky.state.state, "waiting");
  await shaky.pass(500);
  await shaky.welcome();
  assert.equal(shaky.state.state, "online");
});

test("a bye says when to come back, and wins over the close frame", async () => {
  const town = new Town();
  await town.welcome();
  town.hears({ t: "bye", code: 4300, retry_ms: 8231 });
  await town.cut(1006);
  assert.equal(town.state.retry_at - town.now, 8231);
  town.client.wake(); // coming back to the page does not undo what the server asked for
  await town.settle();
  assert.equal(town.sockets.length, 1);
  await town.pass(8231);
  assert.equal(town.sockets.length, 2);
});

test("a wake tries at once, but only once per wait", async () => {
  const town = new Town({ random: 1 });
  await town.welcome();
  for (let i = 0; i < 6; i++) {
    await town.cut(1006);
    if (town.state.retry_at - town.now > 4_000) break;
    await town.pass(town.state.retry_at - town.now);
  }
  const before = town.sockets.length;
  town.client.wake();
  await town.settle();
  await town.cut(1006);
  town.client.wake();
  await town.settle();
  assert.equal(town.sockets.length, before + 1);
});

test("silence for the ping interval and ten seconds means that the connection is gone", async () => {
  const town = new Town();
  await town.welcome({ ping_s: 20 });
  await town.pass(29_000);
  town.hears({ t: "ping" });
  assert.deepEqual(town.socket.said.at(-1), { t: "pong" });
  await town.pass(29_999);
  assert.equal(town.state.state, "online");
  await town.pass(1);
  assert.equal(town.state.state, "waiting");
  assert.ok(town.socket.closed);
});

test("a hello that nobody answers is given up", async () => {
  const town = new Town();
  await town.settle();
  town.socket.onopen();
  await town.pass(15_000);
  assert.equal(town.state.state, "waiting");
});

test("a wake asks for the heads, and does not wait long for the answer", async () => {
  const town = new Town();
  await town.welcome();
  town.client.wake();
  assert.equal(town.said("ping")[0].heads, true);
  town.hears({ t: "ok", id: town.said("ping")[0].id, now: town.now, heads: {} });
  await town.pass(6_000);
  assert.equal(town.state.state, "online");
  town.client.wake();
  await town.pass(5_000);
  assert.equal(town.state.state, "waiting");
});

test("the heads are asked for every five minutes", async () => {
  const town = new Town();
  await town.welcome();
  for (let s = 0; s < 600; s += 20) {
    await town.pass(20_000);
    town.hears({ t: "ping" });
    for (const { id } of town.said("ping")) town.hears({ t: "ok", id, now: town.now, heads: {} });
  }
  assert.equal(town.said("ping").length, 2);
});

test("frames of an old socket are not heard", async () => {
  const town = new Town();
  const events = [];
  town.client.open("r1", { position: { epoch: "e", last: 0 }, onEvent: (e) => events.push(e.seq) });
  const attached = { epoch: "e", base: 0, upto: 0, head: 0, first: 1, n: 0, role: "member" };
  await town.welcome({ rooms: { r1: attached } });
  const old = town.socket;
  const heard = old.onmessage;
  await town.cut(1006);
  await town.pass(20_000);
  await town.welcome({ rooms: { r1: attached } });
  heard({ data: '{"t":"ev","room":"r1","seq":1,"k":"msg"}' });
  assert.deepEqual(events, []);
  town.hears({ t: "ev", room: "r1", seq: 1, k: "msg" });
  assert.deepEqual(events, [1]);
});

test("a warning about the token renews it on the open connection", async () => {
  const town = new Town();
  await town.welcome();
  town.hears({ t: "auth_due", in_ms: 60_000 });
  await town.settle();
  assert.equal(town.said("auth")[0].token, "token 2");
});

test("a send resolves when it is durable, through a lost connection, under the same name", async () => {
  const town = new Town();
  const room = town.client.open("r1", { position: { epoch: "e", last: 0 } });
  const attached = { epoch: "e", base: 0, upto: 0, head: 0, first: 1, n: 0, role: "member" };
  await town.welcome({ rooms: { r1: attached } });
  let outcome;
  room.send({ text: "one" }).then((ok) => (outcome = ok));
  room.send({ text: "two" });
  const [one, two] = town.said("send");
  assert.deepEqual([one.prev, two.prev], [undefined, one.cid]);
  await town.cut(1006);
  await town.pass(20_000);
  await town.welcome({ rooms: { r1: attached } });
  const [again, two_again] = town.said("send");
  assert.deepEqual([again.cid, again.d, two_again.cid, two_again.prev], [one.cid, { text: "one" }, two.cid, one.cid]);
  town.hears({ t: "ok", id: again.id, epoch: "e", seq: 1, n: 1, ts: 5, dup: true });
  await town.settle();
  assert.deepEqual(outcome, { seq: 1, n: 1, ts: 5 });
});

test("a limited send rests with all behind it, then goes out from the oldest", async () => {
  const town = new Town();
  const room = town.client.open("r1");
  await town.welcome({ rooms: { r1: { epoch: "e", base: 0, upto: 0, head: 0, first: 1, n: 0, role: "member" } } });
  room.send({ text: "one" });
  room.send({ text: "two" });
  const [one, two] = town.said("send");
  town.hears({ t: "err", id: one.id, code: "rate_limited", retry_ms: 1200 });
  town.hears({ t: "err", id: two.id, code: "order", retry_ms: 100 });
  room.send({ text: "three" });
  await town.pass(1199);
  assert.equal(town.said("send").length, 2);
  await town.pass(1);
  assert.deepEqual(town.said("send").slice(2).map((m) => [m.d.text, m.prev]), [["one", undefined], ["two", one.cid], ["three", two.cid]]);
});

test("a refused send is left out of the chain, and can be tried again or dropped", async () => {
  const town = new Town();
  const notices = [];
  const room = town.client.open("r1", { onNotice: (n) => n.cid && notices.push([n.what, n.code]) });
  await town.welcome({ rooms: { r1: { epoch: "e", base: 0, upto: 0, head: 0, first: 1, n: 0, role: "member" } } });
  const refusal = assert.rejects(room.send({ text: "long" }), { code: "too_large" });
  const [long] = town.said("send");
  town.hears({ t: "err", id: long.id, code: "too_large", msg: "d is 17000 bytes, the limit is 16384" });
  await refusal;
  room.send({ text: "next" });
  assert.equal(town.said("send")[1].prev, undefined);
  room.retry(long.cid);
  assert.equal(town.said("send")[2].cid, long.cid);
  town.hears({ t: "err", id: town.said("send")[2].id, code: "too_large" });
  room.discard(long.cid);
  assert.deepEqual(room.outbox.map((m) => m.d.text), ["next"]);
  assert.deepEqual(notices, [["failed", "too_large"], ["failed", "too_large"]]);
});

test("what waited longer than the server remembers is not sent again unasked", async () => {
  const town = new Town();
  const notices = [];
  const open = { onNotice: (n) => n.cid && notices.push([n.what, n.code]) };
  const outbox = [{ cid: "old", d: { text: "old" }, first: town.now - 604_800_001 }, { cid: "new", d: { text: "new" }, first: town.now - 1000 }];
  town.client.open("r1", { ...open, outbox });
  await town.welcome({ rooms: { r1: { epoch: "e", base: 0, upto: 0, head: 0, first: 1, n: 0, role: "member" } } });
  assert.deepEqual(town.said("send").map((m) => [m.cid, m.prev]), [["new", undefined]]);
  assert.deepEqual(notices, [["failed", "expired"]]);
});

test("a stored outbox goes out after a reload, what had failed stays failed", async () => {
  const town = new Town();
  const outbox = [{ cid: "a", d: {}, first: town.now, state: "failed", code: "too_large" }, { cid: "b", d: {}, first: town.now, state: "flying" }];
  const room = town.client.open("r1", { outbox });
  await town.welcome({ rooms: { r1: { epoch: "e", base: 0, upto: 0, head: 0, first: 1, n: 0, role: "member" } } });
  assert.deepEqual(town.said("send").map((m) => m.cid), ["b"]);
  assert.deepEqual(room.outbox.map((m) => [m.cid, m.state]), [["a", "failed"], ["b", "flying"]]);
});

test("no more commands are open than the server allows, and none is lost", async () => {
  const town = new Town();
  const room = town.client.open("r1");
  await town.welcome({ limits: { inflight: 4 }, rooms: { r1: { epoch: "e", base: 0, upto: 0, head: 0, first: 1, n: 0, role: "member" } } });
  const texts = Array.from({ length: 10 }, (_, i) => String(i));
  for (const text of texts) room.send({ text });
  for (let answered = 0; answered < 10; answered++) {
    assert.ok(town.said("send").length - answered <= 4);
    town.hears({ t: "ok", id: town.said("send")[answered].id, epoch: "e", seq: answered + 1, ts: 1, n: 1 });
  }
  assert.deepEqual(town.said("send").map((m) => m.d.text), texts);
});

test("rooms that do not fit the hello are subscribed behind it", async () => {
  const town = new Town();
  const long = (i) => `room-${String(i).padStart(4, "0")}-${"x".repeat(50)}`;
  for (let i = 0; i < 400; i++) town.client.open(long(i), { position: { epoch: "e1", last: 7 } });
  await town.settle();
  town.socket.onopen();
  const hello = town.socket.said[0];
  assert.ok(JSON.stringify(hello).length <= 16_384);
  town.hears({ t: "ok", id: hello.id, user: "ada", now: town.now, limits: {}, rooms: Object.fromEntries(hello.rooms.map(([id]) => [id, { epoch: "e1", base: 7, upto: 7, head: 7, first: 1, n: 0, role: "member" }])) });
  for (let at = 0; at < town.said("sub").length; at++) {
    const { id } = town.said("sub")[at];
    town.hears({ t: "ok", id, epoch: "e1", base: 7, upto: 7, head: 7, first: 1, n: 0, role: "member" });
  }
  assert.deepEqual(new Set([...hello.rooms.map(([id]) => id), ...town.said("sub").map((s) => s.room)]).size, 400);
});

const at = (base, upto) => ({ epoch: "e7", base, upto, head: upto, first: 1, n: 0, role: "member" });
const spoken = (seq) => ({ t: "ev", room: "r1", seq, k: "msg" });

test("a room opened again before its unsub was said misses nothing", async () => {
  const town = new Town();
  const events = [];
  const room = town.client.open("r1", { position: { epoch: "e7", last: 41 }, onEvent: (e) => events.push(e.seq) });
  await town.welcome({ limits: { inflight: 1 }, rooms: { r1: at(41, 41) } });
  room.send({ text: "takes the only place" }).catch(() => {});
  room.close();
  assert.deepEqual(town.said("unsub"), [], "no command is free to say it");
  town.hears(spoken(42));
  assert.deepEqual(events, [], "a closed room hears nothing");
  town.client.open("r1");
  town.hears({ t: "err", id: town.said("send")[0].id, code: "forbidden" });
  for (const { id } of town.said("unsub")) town.hears({ t: "ok", id });
  const [{ id, epoch, seq }] = town.said("sub");
  assert.deepEqual([epoch, seq], ["e7", 41]);
  for (const object of [{ t: "ok", id, ...at(41, 42) }, spoken(42), spoken(43)]) town.hears(object);
  assert.deepEqual(events, [42, 43]);
});

test("a room opened again while its sub is out misses nothing", async () => {
  const town = new Town();
  const events = [];
  const room = town.client.open("r1", { position: { epoch: "e7", last: 41 }, onEvent: (e) => events.push(e.seq) });
  await town.welcome({ rooms: { r1: at(41, 41) } });
  town.hears({ t: "lag", room: "r1" });
  room.close();
  town.hears({ t: "ok", id: town.said("sub")[0].id, ...at(41, 42) });
  town.hears(spoken(42));
  assert.deepEqual(events, [], "a closed room hears nothing");
  town.client.open("r1");
  town.hears({ t: "ok", id: town.said("unsub")[0].id });
  const { id, epoch, seq } = town.said("sub")[1];
  assert.deepEqual([epoch, seq], ["e7", 41]);
  for (const object of [{ t: "ok", id, ...at(41, 42) }, spoken(42), spoken(43)]) town.hears(object);
  assert.deepEqual(events, [42, 43]);
});

test("an application that throws does not stop the delivery", async (t) => {
  t.mock.method(console, "error", () => {});
  const town = new Town();
  const seen = [];
  town.client.open("r1", { onEvent: (e) => { seen.push(e.seq); throw new Error("theirs"); } });
  await town.welcome({ rooms: { r1: { epoch: "e", base: 0, upto: 0, head: 0, first: 1, n: 0, role: "member" } } });
  town.hears({ t: "ev", room: "r1", seq: 1, k: "msg" });
  town.hears({ t: "ev", room: "r1", seq: 2, k: "msg" });
  assert.deepEqual(seen, [1, 2]);
});

test("a name for a message is a UUIDv7, later ones sort later", () => {
  const [a, b] = [newCid(1_796_040_000_000), newCid(1_796_040_000_001)];
  assert.match(a, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.ok(a < b);
  assert.equal(a.length, 36);
});

test("random cuts: what was handed over is the log, once and in order", () => {
  const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 1e9));
  const random = mulberry(seed);
  const log = [];
  const handed = [];
  const out = [];
  const core = new Core({ now: () => 0, say: (o) => out.push(o), hand: (_, e) => handed.push(e.seq), tell: () => {}, rooms: { r1: { epoch: "e", last: 0 } } });
  let attached = false;
  let wire = []; // what the server has said and the client not yet heard
  const replay = (seq) => {
    const upto = Math.min(log.length, seq + 5);
    attached = upto === log.length;
    return { epoch: "e", base: seq, upto, head: log.length, first: 1, n: 0, role: "member", ...(attached ? {} : { more: true }) };
  };
  const dial = () => {
    out.length = wire.length = 0;
    const hello = core.connect("t");
    const [, , seq] = hello.rooms[0];
    const ok = replay(seq);
    wire.push({ t: "ok", id: hello.id, user: "u", rooms: { r1: ok } }, ...log.slice(ok.base, ok.upto));
  };
  core.open("r1");
  dial();
  for (let i = 0; i < 10_000; i++) {
    const dice = random();
    if (dice < 0.01) dial();
    else if (dice < 0.03 && attached) {
      attached = false; // a lag throws away what was still to be sent
      wire = wire.filter((o) => o.t !== "ev");
      wire.push({ t: "lag", room: "r1" });
    } else if (dice < 0.5) {
      const e = { t: "ev", room: "r1", seq: log.length + 1, k: "msg" };
      log.push(e);
      if (attached) wire.push(e);
    } else {
      for (const o of out.splice(0)) {
        if (o.t !== "sub") continue;
        const ok = replay(o.seq);
        wire.push({ t: "ok", id: o.id, ...ok }, ...log.slice(ok.base, ok.upto));
      }
      if (wire.length) core.heard(wire.shift());
    }
  }
  dial();
  for (;;) {
    while (wire.length) core.heard(wire.shift());
    const sub = out.find((o) => o.t === "sub");
    out.length = 0;
    if (!sub) break;
    const ok = replay(sub.seq);
    wire.push({ t: "ok", id: sub.id, ...ok }, ...log.slice(ok.base, ok.upto));
  }
  assert.deepEqual(handed, log.map((e) => e.seq), `seed ${seed}`);
});

function mulberry(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}
