// The client against the project's transcripts, and against a clock and a socket of our own.
// Run: node --test crates/server/assets/tests/client.test.mjs

import { test } from "node:test";
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { Client, Core, afterClose, backoffMs, newCid } from "../tertulia.js";
import { RoomModel, grouped, hueOf, initialsOf, roomIdOf } from "../model.js";


// ---- the transcripts, docs in crates/protocol/golden/README.md ----

const GOLDEN = new URL("../../../protocol/golden/client/", import.meta.url);
const transcripts = readdirSync(GOLDEN).filter((name) => name.endsWith(".json")).sort();

test("there are transcripts to run", () => assert.notEqual(transcripts.length, 0, `no transcript in ${GOLDEN.pathname}`));

for (const name of transcripts) {
  const transcript = JSON.parse(readFileSync(new URL(name, GOLDEN), "utf8"));
  test(`${transcript.name}: ${transcript.about}`, () => runTranscript(transcript));
}

function runTranscript({ given = {}, steps }) {
  const clock = { now: 1_796_040_000_000 };
  const out = [];
  const told = [];
  const handed = {};
  const bound = {};
  const core = new Core({
    now: () => clock.now,
    say: (object) => out.push(plain(object)),
    hand: (room, e) => (handed[room] ??= []).push(e.seq),
    tell: (notice) => told.push(notice),
    rooms: given.rooms,
  });
  let hello = null;
  const dial = () => (hello ??= plain(core.connect("token")));
  const answer = (rooms = {}) => {
    const { id } = dial();
    hello = null;
    const limits = { frame: 65_536, msg: 16_384, rooms: 1000, inflight: 64, dedup_s: 604_800, page: 256, jump: 2000, ...given.limits };
    core.heard({ t: "ok", id, user: given.user ?? "u1", session: "s1", now: clock.now, ping_s: 25, feat: ["typing"], limits, rooms });
  };
  answer();
  let asked = [];
  let plan;
  out.length = told.length = 0;

  const verbs = {
    app({ open, close, send, wake, ...rest }) {
      assert.deepEqual(rest, {}, "an application does open, close, send or wake");
      if (wake) core.heads();
      if (open) core.open(open);
      if (close) core.close(close);
      for (const { room, ...message } of [send ?? []].flat()) core.send(room, message);
    },
    in: (object) => core.heard(filled(object, bound)),
    in_old: (object) => core.heard(filled(object, bound), core.connection - 1),
    out: (pattern) => match(pattern, out.shift(), bound, true),
    quiet: () => assert.deepEqual(out, [], "nothing more was to be said"),
    handed(expected) {
      for (const [room, seqs] of Object.entries(expected)) {
        assert.deepEqual(handed[room] ?? [], seqs, `handed over in ${room}`);
        delete handed[room];
      }
    },
    told(pattern) {
      const at = told.findIndex((notice) => fits(pattern, notice, bound));
      assert.notEqual(at, -1, `told ${JSON.stringify(pattern)}, but heard ${JSON.stringify(told)}`);
      match(pattern, told.splice(0, at + 1).at(-1), bound, false);
    },
    state(expected) {
      for (const [room, state] of Object.entries(expected)) {
        const { epoch, last, attached } = core.rooms.get(room);
        match(state, { epoch, last, attached }, bound, false);
      }
    },
    after_ms(ms) {
      const end = clock.now + ms;
      for (let at = core.wakeAt(); at <= end; at = core.wakeAt()) {
        clock.now = Math.max(clock.now, at);
        core.tick();
      }
      clock.now = end;
      core.tick();
    },
    cut(code) {
      plan = core.cut(code);
      hello = null;
    },
    plan: (expected) => assert.deepEqual(plan.wait_ms === undefined ? plan.then : { wait_ms: plan.wait_ms }, expected),
    connected(rooms) {
      asked = dial().rooms;
      answer(filled(rooms, bound));
    },
    hello_rooms(expected) {
      const sorted = (rooms) => rooms.map((entry) => entry.filter((x) => x !== null)).sort();
      assert.deepEqual(sorted(core.up ? asked : dial().rooms), sorted(filled(expected, bound)));
    },
  };

  steps.forEach((step, i) => {
    try {
      for (const [verb, value] of Object.entries(step)) {
        if (verb === "why") continue;
        assert.ok(verbs[verb], `unknown step ${verb}`);
        verbs[verb](value);
      }
    } catch (error) {
      error.message = `step ${i + 1} ${JSON.stringify(step)}: ${error.message}`;
      throw error;
    }
  });
}

const plain = (object) => JSON.parse(JSON.stringify(object));

/** Puts bound names into what is about to be said. */
function filled(value, bound) {
  if (typeof value === "string" && value.startsWith("$")) {
    const [, name, plus] = value.match(/^(\$\w+?)(?:\+(\d+))?$/);
    return plus ? bound[name] + Number(plus) : bound[name];
  }
  if (Array.isArray(value)) return value.map((v) => filled(v, bound));
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, filled(v, bound)]));
  return value;
}

function match(pattern, actual, bound, exact, path = "") {
  if (pattern === "*") return assert.notEqual(actual, undefined, `${path} is there`);
  if (pattern === "-") return assert.equal(actual, undefined, `${path} is absent`);
  if (typeof pattern === "string" && pattern.startsWith("$")) {
    if (!(pattern in bound) && !pattern.includes("+")) return void (bound[pattern] = actual);
    return assert.deepEqual(actual, filled(pattern, bound), path);
  }
  if (!pattern || typeof pattern !== "object") return assert.deepEqual(actual, pattern, path);
  assert.ok(actual && typeof actual === "object", `${path || "an object"}: ${JSON.stringify(pattern)} was expected, got ${JSON.stringify(actual)}`);
  for (const key of Object.keys(pattern)) match(pattern[key], actual[key], bound, exact || key === "d", `${path}.${key}`);
  if (exact) for (const key of Object.keys(actual)) assert.ok(key in pattern, `${path}.${key} was not expected: ${JSON.stringify(actual)}`);
}

function fits(pattern, actual, bound) {
  try {
    match(pattern, actual, { ...bound }, false);
    return true;
  } catch {
    return false;
  }
}

// ---- a client with a clock and a socket of our own ----

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

// ---- the model of a room ----

const said = (seq, by, text, more) => ({ t: "ev", room: "r1", seq, ts: seq * 1000, by, k: "msg", n: seq, d: { text }, ...more });

test("older pages and live events meet without a hole and without doubles", () => {
  const model = new RoomModel("r1", "ada");
  model.clear(5);
  model.append(said(6, "bob", "six"));
  model.prepend([said(3, "bob", "three"), said(4, "bob", "four"), said(5, "bob", "five"), said(6, "bob", "six")], 2);
  assert.deepEqual(model.shown.map((e) => e.seq), [3, 4, 5, 6]);
  assert.equal(model.low, 2);
});

test("our own message keeps its key when the log has it", () => {
  const model = new RoomModel("r1", "ada");
  model.clear(0);
  model.sending("c1", "hi", 1);
  const { key } = model.pending[0];
  assert.equal(model.append(said(1, "ada", "hi", { cid: "c1" })).key, key);
  assert.deepEqual(model.pending, []);
  assert.notEqual(model.append(said(2, "bob", "hi", { cid: "c1" })).key, key);
});

test("an edit or a deletion changes its message, loaded before or after", () => {
  const model = new RoomModel("r1", "ada");
  model.clear(2);
  model.append({ ...said(3, "bob"), k: "edit", of: 2, d: { text: "better" } });
  model.append({ ...said(4, "bob"), k: "del", of: 1, d: undefined });
  model.prepend([said(1, "bob", "one"), said(2, "bob", "two")], 0);
  assert.deepEqual(model.shown.map((e) => [e.text, e.edited, e.gone]), [["", undefined, true], ["better", true, undefined]]);
});

test("a stored room comes back as it was", () => {
  const model = new RoomModel("r1", "ada");
  model.clear(0);
  for (let seq = 1; seq <= 500; seq++) model.append(said(seq, "bob", String(seq)));
  const saved = plain(model.save({ epoch: "e", last: 500 }, [{ cid: "c", d: { text: "mine" }, state: "failed", code: "too_large" }]));
  const back = new RoomModel("r1", "ada");
  back.restore(saved);
  assert.deepEqual([back.low, back.last, back.shown.length, back.shown[0].seq], [300, 500, 200, 301]);
  assert.deepEqual(back.pending.map((p) => [p.text, p.state, p.code]), [["mine", "failed", "too_large"]]);
});

test("lines of one sender within five minutes stand under one name", () => {
  const first = { by: "a", ts: 0 };
  assert.ok(grouped(first, { by: "a", ts: 299_999 }));
  assert.ok(!grouped(first, { by: "a", ts: 300_000 }));
  assert.ok(!grouped(first, { by: "b", ts: 1 }));
  assert.ok(!grouped(first, { by: "a", ts: 1, note: true }));
});

test("white initials stand on every hue with a contrast of at least 4.5", () => {
  for (let hue = 0; hue < 360; hue++) assert.ok(1.05 / (luminance(0.5, 0.1, hue) + 0.05) >= 4.5, `hue ${hue}`);
  assert.equal(hueOf("ada"), hueOf("ada"));
  assert.equal(new Set(["ada", "bob", "eve", "kim", "lea"].map(hueOf)).size, 5);
});

/** Relative luminance of oklch(l c hue), after <https://www.w3.org/TR/css-color-4/#color-conversion-code>. */
function luminance(l, c, hue) {
  const [a, b] = [c * Math.cos((hue * Math.PI) / 180), c * Math.sin((hue * Math.PI) / 180)];
  const [L, M, S] = [l + 0.3963377774 * a + 0.2158037573 * b, l - 0.1055613458 * a - 0.0638541728 * b, l - 0.0894841775 * a - 1.291485548 * b].map((x) => x ** 3);
  const clip = (x) => Math.min(1, Math.max(0, x));
  const r = clip(4.0767416621 * L - 3.3077115913 * M + 0.2309699292 * S);
  const g = clip(-1.2684380046 * L + 2.6097574011 * M - 0.3413193965 * S);
  const blue = clip(-0.0041960863 * L - 0.7034186147 * M + 1.707614701 * S);
  return 0.2126 * r + 0.7152 * g + 0.0722 * blue;
}

test("initials and room names are made of what people type", () => {
  assert.deepEqual(["ada", "ada.lovelace", "x", "|"].map(initialsOf), ["AD", "AL", "X", "?"]);
  assert.deepEqual(["garden", "Café del Río", " a  b ", "R1:x", "庭"].map(roomIdOf), ["garden", "cafe-del-rio", "a-b", "R1:x", ""]);
});
