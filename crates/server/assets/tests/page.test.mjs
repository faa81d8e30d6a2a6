// The page in a browser, against the server at TERTULIA_URL (without it: against the fake one beside this file).
// Run: TERTULIA_URL=http://localhost:7600 node --test crates/server/assets/tests/page.test.mjs
// Screenshots of its states go to target/screenshots/, to be looked at.

import { after, before, test as plain } from "node:test";
import assert from "node:assert/strict";
import { STORY_MS, atItsEnd, comes, command, create, enter, field, frame, line, offline, online, say, sees, shoot, signIn, texts, town } from "./visitor.mjs";

const test = (name, story) => plain(name, { timeout: STORY_MS }, story);
const run = Date.now().toString(36).slice(-4); // a server that keeps its rooms sees new ones every time
const idOf = (name) => name.toLowerCase().replace(" ", "-");

let here;
const tab = (width) => here.tab(width);

before(async () => (here = await town()));
after(() => here?.end());

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

  const typing = ada.getByText("bob is typing");
  const bobTypes = () => field(bob).press(".").then(() => typing.isVisible()); // it is told once in three seconds
  await comes("ada sees that bob types", bobTypes, true);
  await say(bob, "I did, an hour ago.", "The beans too.");
  await sees(ada, "The beans too.");
  await typing.waitFor({ state: "detached" });
  await say(ada, "Wonderful. I wrote down what we agreed on: https://example.org/garden/plan?week=34.", "for bed in beds:\n    water(bed,  litres = 2)", "Long words wrap: " + "tomato".repeat(30));
  await say(bob, "Looks right to me.");
  await say(ada, "Then it is settled.\nSee you on Saturday!");
  await comes("bob has all eight messages", () => bob.locator("#list .text").count(), 8);
  assert.equal(await bob.locator("#list a").getAttribute("href"), "https://example.org/garden/plan?week=34");
  await comes("ada sees that bob types again", bobTypes, true);
  await shoot(ada, "busy-room");

  const lines = Array.from({ length: 14 }, (_, i) => `While you were away, line ${i + 1}`);
  await offline(bob);
  await say(bob, "Written without a network");
  await bob.locator(".mark.sending").waitFor();
  await say(ada, ...lines);
  await sees(ada, lines.at(-1));
  await bob.locator("#banner").getByText("Reconnecting").waitFor();
  await shoot(bob, "offline");
  const caughtUp = bob.locator("#banner").getByText(/^Caught up: 1[45] messages$/);
  await Promise.all([caughtUp.waitFor(), online(bob)]); // it stands there for some seconds only
  await sees(bob, lines.at(-1));
  await sees(ada, "Written without a network");
  await shoot(bob, "caught-up");
  await atItsEnd(bob, "bars that come and go leave the list at its end");
  const heard = await texts(bob);
  assert.deepEqual(heard.filter((text) => text.startsWith("While")), lines);

  await say(ada, "A novel. ".repeat(2_000));
  await ada.getByText(/\(too_large\)/).waitFor();
  await shoot(ada, "failed-message");
  await Promise.all([ada.context().close(), bob.context().close()]);
});

test("what is too long comes back to be edited, and no text is lost", async () => {
  const page = await tab();
  await signIn(page, "nora");
  await create(page, `Novel ${run}`);
  const novel = Array.from({ length: 2_000 }, (_, i) => `Chapter ${i}.`).join(" ");
  await say(page, novel);
  const failure = page.getByText(/\(too_large\)/);
  await failure.waitFor();
  assert.equal(await page.getByRole("button", { name: "Retry" }).count(), 0, "the same again would fail again");
  await page.reload();
  await failure.waitFor();
  await field(page).fill("A line of its own");
  await page.getByRole("button", { name: "Edit" }).click();
  await failure.waitFor({ state: "detached" });
  assert.equal(await field(page).inputValue(), `${novel}\nA line of its own`);
  await page.locator("#text:focus").waitFor();
  await page.reload();
  await comes("what is edited survives a reload", () => field(page).inputValue(), `${novel}\nA line of its own`);
  await say(page, "Chapter 0.");
  await page.locator(".mark.sent").waitFor();
  await say(page, novel);
  await page.getByRole("button", { name: "Discard" }).click();
  await failure.waitFor({ state: "detached" });
  assert.deepEqual(await texts(page), ["Chapter 0."]);
  await page.context().close();
});

test("a draft survives a reload, and so does the room", async () => {
  const page = await tab();
  await signIn(page, "cleo");
  await create(page, `Drafts ${run}`);
  await say(page, "kept");
  await page.locator(".mark.sent").waitFor();
  await field(page).fill("not yet said");
  await page.reload();
  await sees(page, "kept");
  await comes("the draft is back", () => field(page).inputValue(), "not yet said");
  await page.context().close();
});

test("on a phone the rooms are one page and the room another", async () => {
  const page = await tab(360);
  await signIn(page, "dora");
  await create(page, `Phone ${run}`);
  await page.locator("#side").waitFor({ state: "hidden" });
  await shoot(page, "phone-room");
  await page.getByLabel("Back to the rooms").click();
  await page.getByRole("link", { name: `Phone ${run}` }).waitFor();
  await page.locator("#room").waitFor({ state: "hidden" });
  await shoot(page, "rooms");
  await page.goBack();
  await field(page).waitFor();
  await page.context().close();
});

test("no change of size takes the list off its end", async () => {
  const page = await tab();
  await signIn(page, "otto");
  await create(page, `Sizes ${run}`);
  await say(page, ...Array.from({ length: 40 }, (_, i) => `line ${i + 1} ` + "and so on ".repeat(i % 12)));
  await atItsEnd(page, "what one says is on the screen");
  for (const width of [360, 1280, 360, 1280, 768]) {
    await page.setViewportSize({ width, height: 500 + width / 4 });
    await frame(page);
    await atItsEnd(page, `${width} px wide`);
  }
  // Whatever asks for a measure between two frames has the browser lay out what nobody will ever see.
  const changes = (id, property, ...values) => page.evaluate(([id, property, values]) => {
    const target = property.startsWith("style.") ? document.querySelector(id).style : document.querySelector(id);
    for (const value of values) {
      target[property.replace("style.", "")] = value;
      document.querySelector("#scroller").scrollTop;
    }
  }, [id, property, values]);
  await changes("#banner", "hidden", false);
  await frame(page);
  await atItsEnd(page, "a bar has come");
  await changes("#banner", "hidden", true, false);
  await frame(page);
  await atItsEnd(page, "the bar went and came back between two frames");
  await changes("#room", "style.width", "900px", "");
  await frame(page);
  await atItsEnd(page, "the room was wider between two frames");
  const one = (await field(page).boundingBox()).height;
  await field(page).fill("1\n2\n3\n4\n5\n6\n7\n8");
  const six = (await field(page).boundingBox()).height;
  assert.ok(six > 2 * one && six < 6 * one, `the field grew from ${one} to ${six} px`);
  await field(page).press("End");
  await field(page).pressSequentially(" and more");
  await frame(page);
  await atItsEnd(page, "the field has grown");
  await field(page).fill("");
  await comes("the field shrinks again", async () => (await field(page).boundingBox()).height, one);
  await atItsEnd(page, "the field is small again");
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
  await line(finn, "three").waitFor({ state: "attached" });
  await frame(finn);
  const moved_px = Math.abs((await place()) - was);
  assert.ok(moved_px < 1, `what is read moved by ${moved_px} px`);
  await comes("the title counts", () => finn.title(), (title) => title.startsWith("(3) "));
  await shoot(finn, "three-new");
  await finn.getByRole("button", { name: "3 new" }).click();
  await atItsEnd(finn, "the button leads to the newest");
  await sees(finn, "three");
  await comes("the title counts no more", () => finn.title(), (title) => !title.startsWith("("));
  await Promise.all([eve.context().close(), finn.context().close()]);
});

test("older messages load while scrolling, without a jump, up to the first", async () => {
  const [gus, hana] = [await tab(), await tab()];
  const name = `Long ${run}`;
  await signIn(gus, "gus");
  await create(gus, name);
  await say(gus, ...Array.from({ length: 320 }, (_, i) => `m${i + 1}`));
  await comes("everything is sent", () => gus.locator(".mark.sending").count(), 0);
  await signIn(hana, "hana");
  await enter(hana, name);
  await sees(hana, "m320");
  const first = () => hana.locator("#list .text").first().innerText();
  for (let top = await first(); top !== "m1"; top = await first()) {
    const before = await nearTheTop(hana);
    await comes(`what is older than ${top} loads`, first, (text) => text !== top);
    const moved = await line(hana, before.text).evaluate((el) => el.getBoundingClientRect().top);
    assert.ok(Math.abs(moved - before.top) < 2, `${before.text} stayed where it was: ${before.top} -> ${moved}`);
  }
  assert.ok((await hana.locator("#list > li").count()) <= 420, "only a window of the list stands in the document");
  await Promise.all([gus.context().close(), hana.context().close()]);
});

/** Scrolls to where the top is near, and tells what stands there before anything could be loaded. */
const nearTheTop = (page) => page.evaluate(() => {
  const scroller = document.querySelector("#scroller");
  scroller.scrollTop = 700 - (scroller.scrollHeight - scroller.clientHeight);
  const edge = scroller.getBoundingClientRect().top;
  const p = [...document.querySelectorAll("#list .text")].find((el) => el.getBoundingClientRect().top > edge);
  return { text: p.textContent, top: p.getBoundingClientRect().top };
});

test("of two thousand messages only a window stands in the document", async () => {
  const page = await tab();
  const name = `Ages ${run}`;
  await signIn(page, "ivo");
  await create(page, name);
  // Twenty people say a hundred things: nobody is faster than the server allows.
  const room = idOf(name);
  for (let crowd = 0; crowd < 2; crowd++) {
    const people = Array.from({ length: 10 }, (_, i) => crowd * 10 + i + 1);
    await Promise.all(people.map(async (who) => {
      await command(page, `jana${who}`, { t: "room", op: "join", room });
      const things = Array.from({ length: 100 }, (_, i) => ({ t: "send", room, cid: `a${i}`, d: { text: `message ${i} of ${who} ` + "and so on ".repeat(i % 9) } }));
      assert.deepEqual(new Set(await command(page, `jana${who}`, ...things)), new Set(["ok"]));
    }));
  }
  await page.reload(); // only what is newest is there, and all else has to be loaded
  await page.locator("#list .text").first().waitFor();
  const { frames_ms, rows } = await scrolledToTheTop(page);
  const [median] = frames_ms.sort((a, b) => a - b).slice(frames_ms.length >> 1);
  console.log(`scrolled 2,000 messages in ${frames_ms.length} frames, half of them within ${median.toFixed(1)} ms`);
  await page.getByText("You made this room").waitFor();
  assert.ok(rows <= 420, `only a window of the list stands in the document: ${rows} rows`);
  await page.context().close();
});

/** Scrolls as a hand does, frame by frame, up to the first message. */
const scrolledToTheTop = (page) => page.evaluate(() => new Promise((done) => {
  const [scroller, list] = ["#scroller", "#list"].map((id) => document.querySelector(id));
  const frames_ms = [];
  let rows = 0;
  let last = performance.now();
  const step = (now) => {
    frames_ms.push(now - last);
    last = now;
    rows = Math.max(rows, list.children.length);
    const above = scroller.scrollHeight - scroller.clientHeight + scroller.scrollTop; // rounded: the top may be at 1
    const top = list.classList.contains("whole") && above < 2;
    if (top || frames_ms.length > 20_000) return done({ frames_ms, rows });
    scroller.scrollTop -= 400;
    requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
}));

test("a room that was closed shows none of its words", async () => {
  const [kim, lea] = [await tab(), await tab()];
  const name = `Door ${run}`;
  const room = idOf(name);
  await signIn(kim, "kim");
  await create(kim, name);
  await signIn(lea, "lea");
  await enter(lea, name);
  await say(lea, "hello");
  await sees(kim, "hello");
  const back = async () => {
    await lea.getByRole("button", { name: "Join again" }).click();
    await sees(lea, "hello");
  };
  const shut = async (title) => {
    await lea.getByRole("heading", { name: title }).waitFor();
    await line(lea, "hello").waitFor({ state: "hidden" });
    await field(lea).waitFor({ state: "hidden" });
  };

  assert.deepEqual(await command(kim, "kim", { t: "room", op: "kick", room, user: "lea" }), ["ok"]);
  await shut("You were removed from this room");
  await kim.getByText("lea was removed").waitFor();
  await shoot(lea, "removed");
  await lea.reload();
  await shut("You are no longer in this room"); // and it did not join again by itself
  await back();

  assert.deepEqual(await command(lea, "lea", { t: "room", op: "leave", room }), ["ok"]);
  await shut("You are no longer in this room");
  await back();

  await lea.evaluate(() => (location.hash = "#"));
  await shut("Choose a room");
  await shoot(lea, "no-room");
  await lea.goBack();
  await sees(lea, "hello");

  assert.deepEqual(await command(kim, "kim", { t: "room", op: "ban", room, user: "lea" }), ["ok"]);
  await shut("You were removed from this room");
  await lea.getByRole("button", { name: "Join again" }).click();
  await shut("This room did not open");

  assert.deepEqual(await command(kim, "kim", { t: "room", op: "del", room }), ["ok"]);
  await kim.getByRole("heading", { name: "This room is gone" }).waitFor();
  await line(kim, "hello").waitFor({ state: "hidden" });
  await Promise.all([kim.context().close(), lea.context().close()]);
});

test("the mark of a message stands beside its last word, however wide the list is", async () => {
  const page = await tab();
  await signIn(page, "mona");
  await create(page, `Marks ${run}`);
  const said = ["Good morning! Is anybody watering the tomatoes today?", "tomato".repeat(40), "See https://example.org/garden/plan?week=34", "See https://example.org/garden/plan?week=34.", "Two\nlines of it"];
  await say(page, ...said);
  await comes("everything is sent", () => page.locator(".mark.sent").count(), said.length);
  const alone = await page.evaluate(() => {
    const list = document.querySelector("#list");
    const alone = [];
    for (let width = 240; width < 720; width += 3) {
      list.style.width = `${width}px`;
      for (const p of list.querySelectorAll(".text")) {
        const letters = document.createTreeWalker(p, NodeFilter.SHOW_TEXT, (node) => (!node.length || node.parentElement.closest(".mark") ? NodeFilter.FILTER_REJECT : NodeFilter.FILTER_ACCEPT));
        while (letters.nextNode());
        const last = document.createRange();
        last.setStart(letters.currentNode, letters.currentNode.length - 1);
        last.setEnd(letters.currentNode, letters.currentNode.length);
        const [letter, mark] = [last.getBoundingClientRect(), p.querySelector(".mark svg").getBoundingClientRect()];
        const fits = mark.top < letter.bottom && mark.bottom > letter.top && mark.left >= letter.right && mark.right <= p.getBoundingClientRect().right + 1;
        if (!fits) alone.push(`${p.textContent.slice(0, 20)} at ${width} px`);
      }
    }
    return alone;
  });
  assert.deepEqual(alone, []);
  await page.context().close();
});

test("nothing went wrong unseen, nothing was asked of another origin", () => assert.deepEqual(here.faults, []));
