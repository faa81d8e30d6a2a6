// The page at `/`: signing in, the way between the rooms, and the state of the connection.
//
// Built on tertulia.js alone; what a room holds is model.js, how it looks is timeline.js.
// Never: asks another origin for anything.

import { connect } from "/tertulia.js";
import { roomIdOf } from "/model.js";
import { Store, identity } from "/store.js";
import { Timeline, element } from "/timeline.js";
import { Composer } from "/composer.js";
import { RoomList, myRooms } from "/rooms.js";
import { OpenRoom } from "/room.js";

const CAUGHT_UP_MS = 5_000;
const $ = (id) => document.getElementById(id);

let chat, store, me; // of the one who is signed in
let current = null;
let state = { state: "connecting" };
let caughtUp = null;
let fresh = 0; //       messages below the screen since it left the end
let wasOffline = false;
let lost = null; //     what was on the screen, and how far, when the connection went
const rooms = new Map();

// ---- signing in ----

async function devToken(user) {
  const response = await fetch("/v1/dev/token", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ user }),
  });
  if (response.ok) return (await response.json()).token;
  const problem = await response.json().catch(() => ({}));
  const code = response.status === 404 ? "dev_off" : problem.code ?? `http ${response.status}`;
  throw Object.assign(new Error(problem.detail ?? problem.title ?? code), { code, stop: response.status < 500 && response.status !== 429 });
}

function askWho(error = "", byToken = false) {
  $("chat").hidden = true;
  $("signin").hidden = false;
  $("signin-lead").textContent = byToken
    ? "This server gives out no names: paste a token your application signed."
    : "Take a name and join the talk; a second tab can take another one.";
  $("signin-label").textContent = byToken ? "Token" : "Your name";
  $("signin-error").textContent = error;
  const field = $("signin-field");
  field.type = byToken ? "password" : "text";
  field.maxLength = byToken ? 8192 : 128;
  field.dataset.token = byToken ? "yes" : "";
  field.value = "";
  field.focus();
}

$("signin-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const field = $("signin-field");
  const typed = field.value.trim();
  if (!typed) return field.focus();
  if (field.dataset.token) return enter({ token: typed });
  const user = typed.replace(/\s+/g, "-");
  if (!/^[A-Za-z0-9._:@|+=-]{1,128}$/.test(user)) {
    $("signin-error").textContent = "A name is made of letters a to z, digits and . _ : @ | + = -";
    return field.focus();
  }
  $("signin-go").disabled = true;
  try {
    enter({ user }, await devToken(user));
  } catch (error) {
    if (error.code === "dev_off") askWho("", true);
    else $("signin-error").textContent = `${error.code ? error.message : "The server does not answer. Is it running?"}${error.code ? ` (${error.code})` : ""}`;
  } finally {
    $("signin-go").disabled = false;
  }
});

function enter(who, token) {
  identity.set(who);
  $("signin").hidden = true;
  $("chat").hidden = false;
  let given = token ?? who.token;
  chat = connect({
    agent: "page",
    token: async () => {
      const once = given;
      given = null;
      if (once) return once;
      if (who.token) throw Object.assign(new Error("the token is used up"), { code: "token_expired", stop: true });
      return devToken(who.user);
    },
    onState: stateChanged,
  });
}

function signOut(error, byToken) {
  chat?.close();
  for (const room of rooms.values()) room.keepNow();
  rooms.clear();
  chat = me = store = current = lost = null;
  timeline.show(null);
  wasOffline = false;
  identity.set(null);
  titled();
  askWho(error, byToken);
}

$("sign-out").addEventListener("click", () => signOut());

// ---- the connection ----

function stateChanged(next) {
  state = next;
  if (next.state === "online") online();
  if (next.state === "waiting" || next.state === "stopped") {
    if (!wasOffline) announce("Connection lost.");
    if (!wasOffline) lost = current && { room: current, seq: current.model.last };
    wasOffline = true;
    caughtUp = null;
  }
  if (next.state === "stopped" && next.code === "token_expired") return signOut("Your token has expired or was refused (token_expired). Paste a new one.", true);
  if (next.state === "stopped" && next.code === "dev_off") return signOut("", true);
  drawState();
}

async function online() {
  if (wasOffline) announce("Connected again.");
  wasOffline = false;
  if (!me) {
    me = chat.user;
    store = new Store(me);
    $("me").textContent = me;
    route();
  }
  const asked = chat;
  const mine = await myRooms(chat).catch(() => []);
  if (asked !== chat) return;
  for (const { id, name } of mine) {
    if (id === "~") continue;
    const room = rooms.get(id) ?? open(id, name);
    if (name) room.model.name = name;
  }
  draw();
}

const WORDS = { connecting: "Connecting", online: "Online", waiting: "Offline", stopped: "Disconnected" };
const STOPPED = {
  4000: "This page and the server do not understand each other. Reload the page.",
  4001: "This page is older than the server. Reload the page.",
  4003: "The token belongs to somebody else. Sign in again.",
  4004: "You are banned from this server.",
  4005: "This address may no longer use the server.",
  4006: "This session goes on in another tab.",
  4007: "Too many connections. Close another tab, then try again.",
};

function drawState() {
  for (const el of document.querySelectorAll(".state")) {
    el.dataset.state = state.state;
    el.lastElementChild.textContent = WORDS[state.state];
  }
  const banner = $("banner");
  const [text, button] = banner.children;
  clearTimeout(drawState.timer);
  banner.dataset.state = state.state;
  banner.hidden = false;
  button.hidden = false;
  button.textContent = "Try now";
  button.onclick = () => chat.tryNow();
  if (state.state === "waiting") {
    const left_ms = state.retry_at - Date.now();
    text.textContent = left_ms > 0 ? `Reconnecting in ${Math.ceil(left_ms / 1000)} s` : "Reconnecting";
    if (left_ms > 0) drawState.timer = setTimeout(drawState, left_ms % 1000 || 1000);
  } else if (state.state === "stopped") {
    const code = state.code ?? "closed";
    text.textContent = `${STOPPED[code] ?? "The server ended the connection."} (${code})`;
  } else if (state.state === "connecting" && wasOffline) {
    text.textContent = "Reconnecting";
    button.hidden = true;
  } else if (caughtUp !== null) {
    text.textContent = `Caught up: ${caughtUp} ${caughtUp === 1 ? "message" : "messages"}`;
    button.hidden = true;
  } else banner.hidden = true;
}

function showCaughtUp(messages) {
  caughtUp = (caughtUp ?? 0) + messages;
  announce(`Caught up: ${caughtUp} messages`);
  clearTimeout(showCaughtUp.timer);
  showCaughtUp.timer = setTimeout(() => {
    caughtUp = null;
    drawState();
  }, CAUGHT_UP_MS);
  drawState();
}

// ---- between the rooms ----

function open(id, name) {
  const room = new OpenRoom({ chat, store, id, me, name, changed });
  rooms.set(id, room);
  return room;
}

function route() {
  if (!me) return;
  const id = location.hash.replace(/^#\/?/, "").replaceAll("%3A", ":"); // the one sign of a room id that is escaped
  const left = current;
  current = /^[A-Za-z0-9._:-]{1,64}$/.test(id) ? rooms.get(id) ?? open(id) : null;
  if (left && left !== current) leave(left);
  document.body.dataset.view = current ? "room" : "rooms";
  fresh = 0;
  if (!current) {
    timeline.show(null);
    return draw();
  }
  // The line goes where reading stopped, once, when the room comes on the screen.
  current.model.line = current.model.unread && current.model.read ? current.model.read.seq : null;
  current.look();
  timeline.show(current.model);
  draw();
  composer.show(store.draft(current.id), `Message ${current.model.name}`);
  if (fine() && !$("composer").hidden) $("text").focus();
}

/** With a mouse there is a keyboard, and the focus may go to the text; on a phone it would raise one. */
const fine = () => matchMedia("(pointer: fine)").matches;

function leave(room) {
  room.wanted = false;
  room.model.line = null;
  if (!room.model.shut) return;
  room.keepNow();
  rooms.delete(room.id);
}

addEventListener("hashchange", route);

$("new-room").addEventListener("submit", (event) => {
  event.preventDefault();
  const typed = $("new-room-name").value.trim();
  if (!typed) return $("new-room-name").focus();
  const id = roomIdOf(typed) || `room-${Math.random().toString(36).slice(2, 10)}`;
  $("new-room-name").value = "";
  if (!rooms.has(id) && id !== typed) names.set(id, typed);
  location.hash = `#/${encodeURIComponent(id)}`;
});

const names = new Map(); // what the user called a room that may have to be made

// ---- drawing ----

const timeline = new Timeline({
  scroller: $("scroller"),
  list: $("list"),
  older: () => current?.older(),
  moved: () => {
    if (timeline.atEnd) fresh = 0;
    look();
    drawNewer();
  },
  retry: (cid) => pressed(() => current.retry(cid)),
  discard: (cid) => pressed(() => current.discard(cid)),
  edit: (cid, text) => {
    composer.bring(text);
    current.discard(cid);
  },
});

/** The button that was pressed goes, and the focus with it: on to the text. */
function pressed(act) {
  act();
  if (fine()) $("text").focus();
}

const composer = new Composer({
  form: $("composer"),
  field: $("text"),
  send: (text) => {
    current.send(text);
    timeline.jump();
  },
  typing: (on) => current?.handle.typing(on),
  draft: (text) => current && store.saveDraft(current.id, text),
});

/** Something happened in a room. */
function changed(room, what, detail) {
  const here = room === current;
  if (what === "caught_up" && here && detail) {
    showCaughtUp(detail);
    if (lost?.room === room) room.model.line = lost.seq;
    timeline.changed();
  }
  if (what === "message" && detail) {
    if (here) say(detail);
    if (here && !timeline.atEnd) fresh += 1;
    if (here && !watching() && room.model.line === null) room.model.line = room.model.read?.seq ?? detail.seq - 1;
  }
  if (here && what === "older") timeline.prepended(detail);
  if (here && what === "typing") return drawTyping();
  if (here && (what === "message" || what === "pending" || what === "status")) timeline.changed();
  look();
  draw();
}

const watching = () => !document.hidden && document.hasFocus() && timeline.atEnd;

/** What is on the screen of someone who looks is read. */
function look() {
  if (current?.model.status === "open" && watching()) current.seen();
  titled();
}

for (const name of ["focus", "visibilitychange"]) addEventListener(name, () => setTimeout(look), true);

function draw() {
  if (draw.queued) return;
  draw.queued = true;
  queueMicrotask(() => {
    draw.queued = false;
    if (me) drawNow();
  });
}

function drawNow() {
  list.show([...rooms.values()], current);
  drawState();
  titled();
  const { model } = current ?? {};
  const shut = Boolean(model?.shut);
  const loading = model?.status === "loading" || (model?.status === "open" && current.loading && !model.shown.length);
  $("room-name").textContent = model?.name ?? "";
  $("room-people").textContent = model ? peopleLine(model) : "";
  const closed = !model || shut || (loading && !model.joined && model.status === "loading" && !model.shown.length);
  const opens = $("composer").hidden && !closed;
  $("composer").hidden = closed;
  const free = [document.body, $("panel"), $("new-room")].some((el) => el === document.activeElement || (el !== document.body && el.contains(document.activeElement)));
  if (opens && fine() && free) $("text").focus();
  $("typing").hidden = !model || shut;
  $("text").placeholder = model ? `Message ${model.name}` : "";
  $("skeleton").hidden = !loading || model.shown.length > 0;
  $("list").hidden = shut;
  $("list").classList.toggle("whole", Boolean(model && model.status === "open" && !model.hasOlder));
  drawPanel(model, loading);
  drawTyping();
  drawNewer();
}

const list = new RoomList({ list: $("rooms"), hint: $("rooms-hint") });

function peopleLine(model) {
  const names = model.names();
  if (names.length <= 4) return names.join(", ");
  return `${names.slice(0, 3).join(", ")} and ${names.length - 3} more`;
}

/** What stands where messages would: a hint, a question, a refusal. */
function drawPanel(model, loading) {
  const panel = $("panel");
  const [title, text, label, act] = panelOf(model, loading) ?? [];
  panel.hidden = !title;
  const face = [title, text, label].join("\u0001");
  if (panel.dataset.face === face) return;
  panel.dataset.face = face;
  panel.replaceChildren();
  if (!title) return;
  panel.append(element("h2", {}, title), element("p", {}, text));
  if (!label) return;
  const button = element("button", { type: "button", className: "primary", onclick: act }, label);
  panel.append(button);
  button.focus();
}

function panelOf(model, loading) {
  if (!model) return ["Choose a room", "Or name a new one: rooms are made by opening them."];
  const { id, code, status } = model;
  if (status === "removed" && code === "not_found") return ["This room is gone", "It was deleted, or closed to you (not_found)."];
  if (status === "removed" && code === "not_member") return ["You are no longer in this room", "New messages no longer reach you (not_member).", "Join again", () => current.join()];
  if (status === "removed") return ["You were removed from this room", `New messages no longer reach you (${code}).`, "Join again", () => current.join()];
  if (status === "refused" && code === "not_found") {
    const name = names.get(id) ?? id.charAt(0).toUpperCase() + id.slice(1);
    return [`There is no room “${name}” yet`, "Make it, then open the same name in another tab.", `Create ${name}`, () => current.create(name)];
  }
  if (status === "refused") return ["This room did not open", `${REFUSED[code] ?? "The server refused."} (${code})`, "Try again", () => current.enter()];
  if (!loading && status === "open" && !current.loading && !model.hasOlder && !model.latest()) {
    return ["Nothing said yet", "Write the first line below. A tick beside it means that it is stored for good."];
  }
  return null;
}

const REFUSED = {
  forbidden: "You may not come in here: somebody in the room has to let you.",
  conflict: "A room of this name is there and not open to you. Choose another name.",
  too_many_rooms: "You are in as many rooms as one may be. Leave one first.",
  rate_limited: "That was fast. Wait a moment.",
  unavailable: "The server is busy. Wait a moment.",
  disconnected: "The connection broke on the way.",
  internal: "The server made a mistake; its log says which.",
};

function drawTyping() {
  const users = current?.model.typing ?? [];
  const who = users.length > 2 ? `${users.length} people are` : `${users.join(" and ")} ${users.length > 1 ? "are" : "is"}`;
  $("typing").textContent = users.length ? `${who} typing` : "";
}

function drawNewer() {
  const button = $("newer");
  button.hidden = !current || timeline.atEnd || !$("panel").hidden;
  button.lastElementChild.textContent = fresh ? `${fresh} new` : "Latest";
}

$("newer").addEventListener("click", () => {
  fresh = 0;
  timeline.jump();
  look();
  drawNewer();
  $("text").focus();
});

function titled() {
  const unread = [...rooms.values()].reduce((sum, room) => sum + (room.model.status === "open" ? room.model.unread : 0), 0);
  const name = current ? `${current.model.name} · Tertulia` : "Tertulia";
  document.title = unread ? `(${unread}) ${name}` : name;
}

// ---- for the ear ----

let unsaid = [];

/** Announces new messages once; a burst becomes one sentence. */
function say(entry) {
  if (unsaid.push(entry) > 1) return;
  setTimeout(() => {
    announce(unsaid.length > 3 ? `${unsaid.length} new messages` : unsaid.map((e) => `${e.by}: ${e.text.slice(0, 200)}`).join(". "));
    unsaid = [];
  }, 500);
}

function announce(text) {
  $("announce").textContent = text;
}

// ---- keys, start, end ----

addEventListener("keydown", (event) => {
  if (event.key === "Escape" && current && event.target === document.body) location.hash = "#";
});

addEventListener("pagehide", () => {
  for (const room of rooms.values()) room.keepNow();
});

const who = identity.get();
if (who) enter(who);
else askWho();
