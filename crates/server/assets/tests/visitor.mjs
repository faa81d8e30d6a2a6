// Visitors for the tests: the hands and the eyes of somebody with a browser, against the server at TERTULIA_URL
// or, without it, against the fake one beside this file.
//
// Everything here waits for a state and not for a time; what does not come says what stood there instead.
// SLOWER=5 makes the pages five times slower than this machine.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { chromium } from "playwright-core";
import { startFake } from "./fake-server.mjs";

const SHOTS = new URL("../../../../target/screenshots/", import.meta.url).pathname;
const ARGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const WIDTHS = { 360: 740, 768: 900, 1280: 800 };
export const PATIENCE_MS = 120_000; // a machine that does three things at once is slow, not wrong
export const STORY_MS = 15 * 60_000; // a whole test; what hangs is told, too

export const startBrowser = () => chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ARGS });

/** A browser and a server; `faults` gathers what goes wrong inside the pages. */
export async function town() {
  mkdirSync(SHOTS, { recursive: true });
  const fake = process.env.TERTULIA_URL ? null : await startFake();
  const base = process.env.TERTULIA_URL ?? fake.url;
  const browser = await startBrowser();
  const faults = [];
  return {
    faults,
    /** A tab of its own. */
    async tab(width = 1280) {
      const context = await browser.newContext({ viewport: { width, height: WIDTHS[width] ?? 800 }, reducedMotion: "reduce" });
      context.setDefaultTimeout(PATIENCE_MS);
      const page = await context.newPage();
      const rate = Number(process.env.SLOWER ?? 1);
      if (rate > 1) await (await context.newCDPSession(page)).send("Emulation.setCPUThrottlingRate", { rate });
      page.on("pageerror", (error) => faults.push(String(error.stack)));
      page.on("console", (message) => /Content.Security.Policy/i.test(message.text()) && faults.push(message.text()));
      page.on("request", (request) => new URL(request.url()).host !== new URL(base).host && faults.push(`asked ${request.url()}`));
      await page.goto(base);
      return page;
    },
    async end() {
      await browser.close();
      fake?.close();
    },
  };
}

// ---- hands ----

export async function signIn(page, name) {
  await page.getByLabel("Your name").fill(name);
  await page.getByRole("button", { name: "Come in" }).click();
  await page.locator('.state[data-state="online"] >> visible=true').waitFor();
}

/** Makes a room with the keyboard alone. */
export async function create(page, name) {
  await page.getByLabel("Create or open a room").fill(name);
  await page.keyboard.press("Enter");
  await page.locator("#panel button:focus").getByText(`Create ${name}`).waitFor();
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Nothing said yet" }).waitFor();
}

export async function enter(page, name) {
  await page.getByLabel("Create or open a room").fill(name);
  await page.keyboard.press("Enter");
  await field(page).waitFor();
}

export const field = (page) => page.getByLabel("Message", { exact: true });

export async function say(page, ...texts) {
  for (const text of texts) {
    await field(page).fill(text);
    await page.keyboard.press("Enter");
  }
}

/** Says commands as `user` on a connection beside the page's own; tells how each was answered. */
export const command = (page, user, ...commands) =>
  page.evaluate(async ([user, commands]) => {
    const { connect } = await import("/tertulia.js");
    const asked = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ user }) };
    const chat = connect({ token: async () => (await (await fetch("/v1/dev/token", asked)).json()).token });
    const answers = await Promise.all(commands.map((command) => chat.request(command).then(() => "ok", ({ code }) => code)));
    chat.close();
    return answers;
  }, [user, commands]);

export async function offline(page) {
  await page.context().setOffline(true);
  await state(page, "waiting");
}

export async function online(page) {
  await page.context().setOffline(false);
  await state(page, "online");
}

// ---- eyes ----

const state = (page, word) => page.locator(`#room .state[data-state="${word}"]`).waitFor();

export const sees = (page, text) => line(page, text).waitFor();

/** A message by its text; our own end with the hidden word of their mark. */
export const line = (page, text) => page.locator("#list .text").filter({ hasText: new RegExp(`^${text.replace(/[^\w\s]/g, "\\$&")}\\s?(Sending|Sent|Not sent)?$`) });

/** The messages on the screen, without the hidden word of a mark. */
export const texts = async (page) => (await page.locator("#list .text").allInnerTexts()).map((text) => text.replace(/\s*(Sending|Sent|Not sent)$/, ""));

/** All that was caused up to now is drawn, its scroll events included. */
export const frame = (page) => page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));

/** Waits until `look()` sees what is `wanted` (a value, or a test of it). */
export async function comes(what, look, wanted) {
  const is = typeof wanted === "function" ? wanted : (seen) => seen === wanted;
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    const seen = await look();
    if (is(seen)) return;
    if (Date.now() > end) assert.fail(`${what}: after ${PATIENCE_MS} ms there is ${JSON.stringify(seen)}`);
    await new Promise((go) => setTimeout(go, 20));
  }
}

/** Waits until the newest message stands at the lower edge and nothing offers to go there. */
export const atItsEnd = (page, what) =>
  comes(what, () => page.evaluate(() => {
    const scroller = document.querySelector("#scroller");
    const { scrollTop, scrollHeight, clientHeight, clientWidth } = scroller;
    const hidden_px = document.querySelector("#list").lastElementChild.getBoundingClientRect().bottom - scroller.getBoundingClientRect().bottom;
    return { hidden_px, newer: !document.querySelector("#newer").hidden, scrollTop, scrollHeight, clientHeight, clientWidth };
  }), ({ hidden_px, newer }) => hidden_px < 1 && !newer);

/** Pictures of a state in all widths and both colours, to be looked at; nothing may be wider than the screen. */
export async function shoot(page, name) {
  const size = page.viewportSize();
  for (const [width, height] of Object.entries(WIDTHS)) {
    await page.setViewportSize({ width: Number(width), height });
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      await frame(page);
      await page.screenshot({ path: `${SHOTS}${name}-${width}-${colorScheme}.png` });
    }
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(wide <= width, `${name} is ${wide} px wide on ${width} px`);
  }
  await page.emulateMedia({ colorScheme: "light" });
  await page.setViewportSize(size);
}
