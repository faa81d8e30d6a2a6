// Two pages in browsers, and a server that is killed between their messages.
// Run: cargo build --bin tertulia && node --test crates/server/assets/tests/restart.test.mjs

import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { startReal } from "./real-server.mjs";
import { PATIENCE_MS, STORY_MS, create, enter, say, signIn, startBrowser, texts } from "./visitor.mjs";

const KILLS = 3;
const ROOM = "attic";

let browser, server;

before(async () => {
  server = await startReal();
  browser = await startBrowser();
});

after(async () => {
  await browser?.close();
  await server?.end();
});

async function visitor(name) {
  const page = await (await browser.newContext()).newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  await page.goto(server.url);
  await signIn(page, name);
  return page;
}

const online = (page) => page.locator('.state[data-state="online"] >> visible=true').waitFor();

/** Waits until the page has at least as many messages and none of them is on its way. */
const settled = (page, count) => page.waitForFunction((n) => document.querySelectorAll("#list .text").length >= n && !document.querySelector("#list .mark.sending"), count);

test("a server that is killed again and again loses nothing and doubles nothing", { timeout: STORY_MS }, async () => {
  const ada = await visitor("ada");
  await create(ada, ROOM);
  const bob = await visitor("bob");
  await enter(bob, ROOM);

  const said = { ada: [], bob: [] };
  const says = async (name, text) => {
    said[name].push(text);
    await say(name === "ada" ? ada : bob, text);
  };
  const all = () => said.ada.length + said.bob.length;

  for (let round = 1; round <= KILLS; round += 1) {
    await says("ada", `ada ${round}: before`);
    await says("bob", `bob ${round}: before`);
    await Promise.all([settled(ada, all()), settled(bob, all())]);
    // Nobody waits for these: some are stored, some are on their way, none is known to be either.
    await Promise.all([says("ada", `ada ${round}: at the edge`), says("bob", `bob ${round}: at the edge`)]);
    const { data, port } = server;
    assert.equal(await server.kill(), "SIGKILL");
    await says("ada", `ada ${round}: while it is down`);
    await says("bob", `bob ${round}: while it is down`);
    server = await startReal({ data, port });
    await says("ada", `ada ${round}: after`);
    await Promise.all([online(ada), online(bob)]);
    await Promise.all([settled(ada, all()), settled(bob, all())]);
  }

  const order = await texts(ada);
  assert.deepEqual([...order].sort(), [...said.ada, ...said.bob].sort(), "every message is there once");
  for (const name of ["ada", "bob"]) {
    assert.deepEqual(order.filter((text) => text.startsWith(name)), said[name], `${name}'s messages stand as they were said`);
  }
  assert.deepEqual(await texts(bob), order, "both see the same");
  assert.deepEqual(await stored(ROOM), order, "and so does the log");
  assert.equal(await server.end(), 0);
});

/** The texts of a room in the server's log, whose numbers have no hole. */
async function stored(room) {
  const asked = { method: "POST", headers: { "content-type": "application/json" }, body: '{"user":"ada"}' };
  const { token } = await (await fetch(`${server.url}/v1/dev/token`, asked)).json();
  const answer = await fetch(`${server.url}/v1/rooms/${room}/log?after=0&limit=1000`, { headers: { authorization: `Bearer ${token}` } });
  const log = await answer.json();
  assert.equal(answer.status, 200, JSON.stringify(log));
  const { evs } = log;
  assert.deepEqual(evs.map((e) => e.seq), evs.map((_, i) => i + 1));
  return evs.filter((e) => e.k === "msg").map((e) => e.d.text);
}
