// The model of a room, and what people see of it.
// Run: node --test crates/server/assets/tests/model.test.mjs

import { test } from "node:test";
import assert from "node:assert/strict";
import { RoomModel, grouped, hueOf, initialsOf, roomIdOf } from "../model.js";

const plain = (object) => JSON.parse(JSON.stringify(object));
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

test("whoever left, was removed or was banned is told apart", () => {
  const model = new RoomModel("r1", "ada");
  model.clear(0);
  const out = (seq, u, why) => model.append({ t: "ev", room: "r1", seq, ts: 1, by: "bob", k: "leave", u, why }).text;
  assert.deepEqual([out(1, "eve", "left"), out(2, "eve", "kicked"), out(3, "ada", "banned"), out(4, "ada", "moved")], ["eve left", "eve was removed", "You were banned", "You left"]);
});

test("of a room that was shut no word is stored, but the place in it and what was not sent are", () => {
  const model = new RoomModel("r1", "ada");
  model.clear(0);
  for (let seq = 1; seq <= 5; seq++) model.append(said(seq, "bob", String(seq)));
  model.status = "removed";
  const outbox = [{ cid: "c", d: { text: "mine" }, state: "failed", code: "not_member" }];
  const saved = plain(model.save({ epoch: "e", last: 5 }, outbox));
  assert.deepEqual([saved.events, saved.low, saved.last, saved.outbox], [[], 5, 5, outbox]);
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
