// The page in a browser, against the server at TERTULIA_URL (without it: against the fake one beside this file).
// Run: TERTULIA_URL=http://localhost:7600 node --test crates/server/assets/tests/page.test.mjs
// Screenshots of its states go to target/screenshots/, to be looked at.

import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { chromium } from "playwright-core";
import { startFake } from "./fake-server.mjs";

const SHOTS = new URL("../../../../target/screenshots/", import.meta.url).pathname;
const ARGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const WIDTHS = { 360: 740, 768: 900, 1280: 800 };
const run = Date.now().toString(36).slice(-4); // a server that keeps its rooms sees new ones every time

let browser, base, fake;
const faults = [];

before(async () => {
  mkdirSync(SHOTS, { recursive: true });
  fake = process.env.TERTULIA_URL ? null : await startFake();
  base = process.env.TERTULIA_URL ?? fake.url;
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ARGS });
});

after(async () => {
  await browser?.close();
  fake?.close();
});

/** A tab of its own; what goes wrong inside is gathered in `faults`. */
async function tab(width = 1280) {
  const context = await browser.newContext({ viewport: { width, height: WIDTHS[width] ?? 800 }, reducedMotion: "reduce" });
  const page = await context.newPage();
  page.on("pageerror", (error) => faults.push(String(error.stack)));
  page.on("console", (message) => /Content.Security.Policy/i.test(message.text()) && faults.push(message.text()));
  page.on("request", (request) => new URL(request.url()).host !== new URL(base).host && faults.push(`asked ${request.url()}`));
  await page.goto(base);
  return page;
}

async function signIn(page, name) {
  await page.getByLabel("Your name").fill(name);
  await page.getByRole("button", { name: "Come in" }).click();
  await page.locator('.state[data-state="online"] >> visible=true').waitFor();
}

async function create(page, name) {
  await page.getByLabel("Create or open a room").fill(name);
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: `Create ${name}` }).waitFor();
  await page.keyboard.press("Enter"); // the button has the focus
  await page.getByRole("heading", { name: "Nothing said yet" }).waitFor();
}

async function enter(page, name) {
  await page.getByLabel("Create or open a room").fill(name);
  await page.keyboard.press("Enter");
  await page.getByLabel("Message", { exact: true }).waitFor();
}

async function say(page, ...texts) {
  for (const text of texts) {
    await page.getByLabel("Message", { exact: true }).fill(text);
    await page.keyboard.press("Enter");
  }
}

const sees = (page, text) => line(page, text).waitFor();
/** A message by its text; our own end with the hidden word of their mark. */
const line = (page, text) => page.locator("#list .text").filter({ hasText: new RegExp(`^${text.replace(/[^\w\s]/g, "\\$&")}\\s?(Sending|Sent|Not sent)?$`) });
const state = (page, word) => page.locator(`#room .state[data-state="${word}"]`).waitFor();
const frame = (page) => page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));

async function shoot(page, name) {
  const size = page.viewportSize();
  for (const [width, height] of Object.entries(WIDTHS)) {
    await page.setViewportSize({ width: Number(width), height });
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      await frame(page);
      await page.screenshot({ path: `${SHOTS}${name}-${width}-${colorScheme}.png` });
    }
    const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
    assert.ok(!wide, `${name} fits ${width} px`);
  }
  await page.emulateMedia({ colorScheme: "light" });
  await page.setViewportSize(size);
}

async function offline(page) {
  await page.context().setOffline(true);
  await state(page, "waiting");
}

const online = async (page) => {
  await page.context().setOffline(false);
  await state(page, "online");
};

test("ada and bob talk", async () => {
  const ada = await tab();
  await shoot(ada, "first-visit");
  await signIn(ada, "ada");
  const garden = `Garden ${run}`;
  await create(ada, garden);
  await shoot(ada, "empty-room");

  const bob = await tab();
  await signIn(bob, "bob");
  await enter(bob, garden);
  await say(ada, "Good morning! Is anybody watering the tomatoes today?");
  await sees(bob, "Good morning! Is anybody watering the tomatoes today?");
  await ada.locator(".mark.sent").waitFor();

  await bob.getByLabel("Message", { exact: true }).pressSequentially("I did");
  await ada.getByText("bob is typing").waitFor();
  await say(bob, "I did, an hour ago.", "The beans too.");
  await sees(ada, "The beans too.");
  await ada.locator("#typing:empty").waitFor({ state: "attached" });
  await say(ada, "Wonderful. I wrote down what we agreed on: https://example.org/garden/plan?week=34.", "for bed in beds:\n    water(bed,  litres = 2)", "Long words wrap: " + "tomato".repeat(30));
  await say(bob, "Looks right to me.");
  await say(ada, "Then it is settled.\nSee you on Saturday!");
  await sees(bob, "Looks right to me.");
  assert.equal(await bob.locator("#list a").getAttribute("href"), "https://example.org/garden/plan?week=34");
  assert.deepEqual(await bob.locator("#list .text").allInnerTexts().then((texts) => texts.length), 8);
  await bob.locator("#list").getByText("See you on Saturday!").waitFor();
  await bob.getByLabel("Message", { exact: true }).pressSequentially("…");
  await ada.getByText("bob is typing").waitFor();
  await shoot(ada, "busy-room");

  const lines = Array.from({ length: 14 }, (_, i) => `While you were away, line ${i + 1}`);
  await offline(bob);
  await say(bob, "Written without a network");
  await bob.locator(".mark.sending").waitFor();
  await say(ada, ...lines);
  await sees(ada, lines.at(-1));
  await bob.locator("#banner").getByText("Reconnecting").waitFor();
  await shoot(bob, "offline");
  await online(bob);
  await bob.locator("#banner").getByText(/^Caught up: 1[45] messages$/).waitFor();
  await sees(bob, lines.at(-1));
  await sees(ada, "Written without a network");
  await shoot(bob, "caught-up");
  assert.ok(await bob.locator("#newer").isHidden(), "no change of size takes the list off its end");
  const heard = await bob.locator("#list .text").allInnerTexts();
  for (const line of lines) assert.equal(heard.filter((text) => text === line).length, 1, line);

  await say(ada, "A novel. ".repeat(2_000));
  await ada.getByText(/\(too_large\)/).waitFor();
  await shoot(ada, "failed-message");
  await ada.reload();
  await ada.getByText(/\(too_large\)/).waitFor(); // a reload loses no text
  await ada.getByRole("button", { name: "Discard" }).click();
  await ada.getByText(/\(too_large\)/).waitFor({ state: "detached" });
  await Promise.all([ada.context().close(), bob.context().close()]);
});

test("a draft survives a reload, and so does the room", async () => {
  const page = await tab();
  await signIn(page, "cleo");
  await create(page, `Drafts ${run}`);
  await say(page, "kept");
  await page.locator(".mark.sent").waitFor();
  await page.getByLabel("Message", { exact: true }).fill("not yet said");
  await page.reload();
  await sees(page, "kept");
  assert.equal(await page.getByLabel("Message", { exact: true }).inputValue(), "not yet said");
  await page.context().close();
});

test("on a phone the rooms are one page and the room another", async () => {
  const page = await tab(360);
  await signIn(page, "dora");
  await create(page, `Phone ${run}`);
  assert.ok(!(await page.locator("#side").isVisible()));
  await shoot(page, "phone-room");
  await page.getByLabel("Back to the rooms").click();
  await page.getByRole("link", { name: `Phone ${run}` }).waitFor();
  assert.ok(!(await page.locator("#room").isVisible()));
  await shoot(page, "rooms");
  await page.goBack();
  await page.getByLabel("Message", { exact: true }).waitFor();
  await page.context().close();
});

test("what comes while one reads above does not move it, and is counted", async () => {
  const [eve, finn] = [await tab(), await tab()];
  const name = `Reading ${run}`;
  await signIn(eve, "eve");
  await create(eve, name);
  await signIn(finn, "finn");
  await enter(finn, name);
  await say(eve, ...Array.from({ length: 60 }, (_, i) => `line ${i + 1}`));
  await sees(finn, "line 60");
  await finn.locator("#scroller").evaluate((el) => (el.scrollTop -= 400));
  await finn.getByRole("button", { name: "Latest" }).waitFor();
  const place = () => line(finn, "line 45").evaluate((el) => el.getBoundingClientRect().top);
  const was = await place();
  await say(eve, "one", "two", "three");
  await finn.getByRole("button", { name: "3 new" }).waitFor();
  assert.equal(await place(), was);
  assert.match(await finn.title(), /^\(3\) /);
  await finn.emulateMedia({ colorScheme: "light" });
  await finn.screenshot({ path: `${SHOTS}three-new-1280-light.png` });
  await finn.getByRole("button", { name: "3 new" }).click();
  await finn.locator("#newer").waitFor({ state: "hidden" });
  await sees(finn, "three");
  assert.doesNotMatch(await finn.title(), /^\(/);
  await Promise.all([eve.context().close(), finn.context().close()]);
});

test("older messages load while scrolling, without a jump, up to the first", async () => {
  const [gus, hana] = [await tab(), await tab()];
  const name = `Long ${run}`;
  await signIn(gus, "gus");
  await create(gus, name);
  await gus.evaluate(() => (document.querySelector("#text").value = ""));
  await say(gus, ...Array.from({ length: 320 }, (_, i) => `m${i + 1}`));
  await gus.locator(".mark.sending").first().waitFor({ state: "detached" });
  await signIn(hana, "hana");
  await enter(hana, name);
  await sees(hana, "m320");
  const scroller = hana.locator("#scroller");
  for (const mark of ["m230", "m140", "m60", "m1"]) {
    await scroller.evaluate((el) => (el.scrollTop = 700));
    const before = await topmost(hana);
    await frame(hana);
    const moved = await hana.evaluate((text) => [...document.querySelectorAll("#list .text")].find((p) => p.textContent === text)?.getBoundingClientRect().top, before.text);
    assert.ok(Math.abs(moved - before.top) < 2, `${before.text} stayed where it was: ${before.top} -> ${moved}`);
    await scrollUpTo(hana, mark);
  }
  assert.ok((await hana.locator("#list > li").count()) <= 420, "only a window of the list stands in the document");
  await Promise.all([gus.context().close(), hana.context().close()]);
});

const topmost = (page) => page.evaluate(() => {
  const edge = document.querySelector("#scroller").getBoundingClientRect().top;
  const p = [...document.querySelectorAll("#list .text")].find((el) => el.getBoundingClientRect().top > edge);
  return { text: p.textContent, top: p.getBoundingClientRect().top };
});

/** Scrolls as a hand does, frame by frame, until the message is in the document. */
const scrollUpTo = (page, text) => page.evaluate((wanted) => new Promise((done) => {
  const scroller = document.querySelector("#scroller");
  const step = () => {
    if ([...document.querySelectorAll("#list .text")].some((p) => p.textContent === wanted)) return done();
    scroller.scrollTop -= 120;
    requestAnimationFrame(step);
  };
  step();
}), text);

test("ten thousand messages scroll at the pace of the screen", { skip: process.env.TERTULIA_URL && "seeded in the fake server only" }, async () => {
  fake.makeRoom("ages", "public", "Ages", "ivo");
  for (let i = 1; i <= 10_000; i++) fake.append("ages", { by: i % 3 ? "ivo" : "jana", k: "msg", cid: `a${i}`, d: { text: `message ${i} ` + "and so on ".repeat(i % 9) } }, 1_790_000_000_000 + i * 90_000);
  const page = await tab();
  await signIn(page, "ivo");
  await page.getByRole("link", { name: "Ages" }).click();
  await page.locator("#list").getByText("message 10000").waitFor();
  const { frames, slow } = await page.evaluate(() => new Promise((done) => {
    const scroller = document.querySelector("#scroller");
    let frames = 0, slow = 0, last = performance.now();
    const step = (now) => {
      frames += 1;
      if (now - last > 34) slow += 1; // two frames of 60 a second
      last = now;
      const top = document.querySelector("#list").classList.contains("whole") && scroller.scrollTop === 0;
      if (top || frames > 6_000) return done({ frames, slow });
      scroller.scrollTop -= 400;
      requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }));
  console.log(`scrolled 10,000 messages in ${frames} frames, ${slow} of them slow`);
  await page.locator("#list").getByText(/^message 1 /).waitFor();
  assert.ok(slow < frames / 10, `${slow} of ${frames} frames were slow`);
  await page.context().close();
});

test("whoever is removed is told, and the words stay on the screen", { skip: process.env.TERTULIA_URL && "needs a hand in the fake server" }, async () => {
  const [kim, lea] = [await tab(), await tab()];
  const name = `Door ${run}`;
  await signIn(kim, "kim");
  await create(kim, name);
  await signIn(lea, "lea");
  await enter(lea, name);
  await say(lea, "hello");
  await sees(kim, "hello");
  await kim.evaluate(async (room) => {
    const { connect } = await import("/tertulia.js");
    const chat = connect({ token: async () => "dev.kim" });
    await chat.request({ t: "room", op: "ban", room, user: "lea" });
    chat.close();
  }, name.toLowerCase().replace(" ", "-"));
  await lea.getByText("You were removed from this room").waitFor();
  await lea.screenshot({ path: `${SHOTS}removed-1280-light.png` });
  await kim.getByText("lea was removed (ban)").waitFor();
  await Promise.all([kim.context().close(), lea.context().close()]);
});

test("nothing went wrong unseen, nothing was asked of another origin", () => assert.deepEqual(faults, []));
