// The client's core against the project's transcripts; the format is in crates/protocol/golden/README.md.
// Run: node --test crates/server/assets/tests/transcripts.test.mjs

import { test } from "node:test";
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { Core } from "../core.js";

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
