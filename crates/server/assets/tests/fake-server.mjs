// A tertulia.v1 server in a page of plain Node, so the page and its client can be run without the real one.
//
// Rooms live in memory and die with it. It keeps the rules of docs/protocol.md that a client can notice, and
// none of the promises: nothing here is durable. `node fake-server.mjs [port]` serves the page.

import { createServer } from "node:http";
import { createHash, randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { extname } from "node:path";

const ASSETS = new URL("../", import.meta.url);
const TYPES = { ".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml" };
const CSP = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const MSG_BYTES = 16_384;
const PAGE = 256;
const JUMP = 2_000;

export async function startFake({ port = 0, dev = true } = {}) {
  const rooms = new Map();
  const sockets = new Set();
  let epochs = 0;

  const http = createServer(async (request, response) => {
    const path = new URL(request.url, "http://x").pathname;
    if (path === "/v1/dev/token" && dev) {
      let body = "";
      for await (const chunk of request) body += chunk;
      const token = `dev.${JSON.parse(body).user}`;
      return response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ token, exp: Math.floor(Date.now() / 1000) + 43_200 }));
    }
    const name = path === "/" ? "index.html" : path.slice(1);
    const type = TYPES[extname(name)];
    const file = type && /^[a-z-]+\.[a-z]+$/.test(name) && (await readFile(new URL(name, ASSETS)).catch(() => null));
    if (!file) return response.writeHead(404, { "content-type": "application/problem+json" }).end('{"code":"not_found"}');
    response.writeHead(200, { "content-type": type, "content-security-policy": CSP, "cache-control": "no-store" }).end(file);
  });

  http.on("upgrade", (request, tcp) => {
    const accept = createHash("sha1").update(request.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest("base64");
    tcp.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\nSec-WebSocket-Protocol: tertulia.v1\r\n\r\n`);
    const c = { tcp, user: null, rooms: new Set(), say: (object) => tcp.writable && tcp.write(frame(1, Buffer.from(JSON.stringify(object)))) };
    c.close = (code) => {
      const reason = Buffer.alloc(2);
      reason.writeUInt16BE(code);
      if (tcp.writable) tcp.end(frame(8, reason));
    };
    sockets.add(c);
    tcp.on("close", () => sockets.delete(c));
    tcp.on("error", () => {});
    tcp.on("data", frames((opcode, payload) => {
      if (opcode === 8) return c.close(1000);
      if (opcode === 9) return tcp.write(frame(10, payload));
      if (opcode === 1) for (const line of payload.toString().split("\n")) command(c, JSON.parse(line));
    }));
  });

  function command(c, o) {
    const ok = (fields = {}) => c.say({ t: "ok", id: o.id, ...fields });
    const err = (code, more) => c.say({ t: "err", id: o.id, code, msg: code, ...more });
    if (o.t === "pong") return;
    if (o.t === "hello") {
      if (!o.token?.startsWith("dev.")) {
        err("unauthorized");
        c.say({ t: "bye", code: 4102 });
        return c.close(4102);
      }
      c.user = o.token.slice(4);
      const answers = {};
      const replays = [];
      for (const [id, epoch, seq] of o.rooms ?? []) {
        const { answer, evs } = subscribe(c, { room: id, epoch: epoch ?? undefined, seq: seq ?? undefined });
        answers[id] = answer;
        replays.push(...evs);
      }
      const limits = { frame: 65_536, msg: MSG_BYTES, rooms: 1000, inflight: 64, dedup_s: 604_800, page: PAGE, jump: JUMP };
      ok({ user: c.user, session: o.session ?? randomBytes(6).toString("hex"), now: Date.now(), ping_s: 25, feat: ["typing"], limits, rooms: answers });
      return replays.forEach(c.say);
    }
    if (!c.user) return c.close(4000);
    const room = rooms.get(o.room);
    const member = room?.members.get(c.user);
    switch (o.t) {
      case "ping": {
        const heads = o.heads && Object.fromEntries([...c.rooms].map((id) => [id, [rooms.get(id).epoch, rooms.get(id).log.length]]));
        return ok({ now: Date.now(), heads });
      }
      case "auth":
        return ok({ exp: Math.floor(Date.now() / 1000) + 43_200 });
      case "rooms":
        return ok({ rooms: [...rooms].filter(([, r]) => r.members.has(c.user)).map(([id, r]) => ({ id, kind: r.kind, name: r.name, epoch: r.epoch, head: r.log.length, n: r.n, role: r.members.get(c.user) })), more: false });
      case "sub": {
        const { answer, evs } = subscribe(c, o);
        if (answer.code) return err(answer.code);
        ok(answer);
        return evs.forEach(c.say);
      }
      case "unsub":
        c.rooms.delete(o.room);
        return ok();
      case "room":
        return roomCommand(c, o, room, member, ok, err);
    }
    if (!room) return o.id && err("not_found");
    if (!member) return o.id && err("not_member");
    switch (o.t) {
      case "send": {
        const d = JSON.stringify(o.d);
        const known = room.cids.get(`${c.user} ${o.cid}`);
        if (known) return known.d === d ? ok({ ...known.ok, dup: true }) : err("cid_reuse");
        if (Buffer.byteLength(d) > MSG_BYTES) return err("too_large");
        if (o.d.text === "/slow" && !room.slowed?.has(o.cid)) {
          (room.slowed ??= new Set()).add(o.cid);
          return err("rate_limited", { retry_ms: 200 });
        }
        const e = append(o.room, { by: c.user, k: o.k ?? "msg", cid: o.cid, d: o.d });
        const first = { epoch: room.epoch, seq: e.seq, n: e.n, ts: e.ts };
        room.cids.set(`${c.user} ${o.cid}`, { d, ok: first });
        typing(o.room, c.user, false);
        return ok(first);
      }
      case "log": {
        if (o.epoch && o.epoch !== room.epoch) return err("reset");
        const head = room.log.length;
        const to = Math.min(o.upto ?? head, head, o.after + (o.limit ?? 256));
        return ok({ epoch: room.epoch, evs: room.log.slice(o.after, to), head, first: 1, more: to < Math.min(o.upto ?? head, head) });
      }
      case "typing":
        return typing(o.room, c.user, o.on);
      case "signal":
        return tell(o.room, { t: "sig", room: o.room, k: o.k, d: o.d });
    }
    if (o.id) err("unknown_command");
  }

  function subscribe(c, { room: id, epoch, seq }) {
    const room = rooms.get(id);
    if (!room) return { answer: { code: "not_found" }, evs: [] };
    if (room.banned.has(c.user)) return { answer: { code: "forbidden" }, evs: [] };
    if (!room.members.has(c.user)) return { answer: { code: "not_member" }, evs: [] };
    const head = room.log.length;
    const base = { epoch: room.epoch, first: 1, n: room.n, role: room.members.get(c.user), head };
    c.rooms.add(id);
    if (seq === undefined) return { answer: { ...base, base: head, upto: head }, evs: [] };
    if (epoch !== room.epoch || seq > head) return { answer: { ...base, base: head, upto: head, reset: true }, evs: [] };
    if (head - seq > JUMP) return { answer: { ...base, base: head, upto: head, hole: true }, evs: [] };
    const upto = Math.min(head, seq + PAGE);
    if (upto < head) c.rooms.delete(id);
    return { answer: { ...base, base: seq, upto, ...(upto < head && { more: true }) }, evs: room.log.slice(seq, upto) };
  }

  function roomCommand(c, o, room, member, ok, err) {
    switch (o.op) {
      case "create":
        if (room) return err("conflict");
        makeRoom(o.room, o.kind, o.name, c.user);
        return ok({ epoch: rooms.get(o.room).epoch, seq: 1 });
      case "join":
        if (!room) return err("not_found");
        if (room.banned.has(c.user)) return err("forbidden");
        if (member) return ok({ dup: true });
        room.members.set(c.user, "member");
        return ok({ epoch: room.epoch, seq: append(o.room, { by: c.user, k: "join", u: c.user }).seq });
      case "leave":
      case "kick":
      case "ban": {
        if (!member) return err("not_member");
        const user = o.user ?? c.user;
        const e = append(o.room, { by: c.user, k: "leave", u: user, why: { leave: "left", kick: "kicked", ban: "banned" }[o.op] });
        room.members.delete(user);
        if (o.op === "ban") room.banned.add(user);
        for (const other of sockets) {
          if (other.user === user && other.rooms.delete(o.room)) other.say({ t: "drop", room: o.room, code: o.op === "leave" ? "not_member" : "forbidden" });
        }
        return ok({ seq: e.seq });
      }
      case "del":
        if (member !== "owner") return err(member ? "forbidden" : "not_found");
        for (const c of sockets) if (c.rooms.delete(o.room)) c.say({ t: "drop", room: o.room, code: "not_found" });
        rooms.delete(o.room);
        return ok();
      case "get":
        return room ? ok({ id: o.room, kind: room.kind, name: room.name, epoch: room.epoch, head: room.log.length, n: room.n, role: member }) : err("not_found");
    }
    err("unknown_command");
  }

  function makeRoom(id, kind, name, by) {
    rooms.set(id, { kind, name, epoch: `e${++epochs}`, log: [], n: 0, members: new Map([[by, "owner"]]), banned: new Set(), cids: new Map(), typing: new Map() });
    append(id, { by, k: "room", kind, name, d: {} });
    append(id, { by, k: "join", u: by });
  }

  function append(id, fields, ts = Date.now()) {
    const room = rooms.get(id);
    const e = { t: "ev", room: id, seq: room.log.length + 1, ts, ...fields };
    if (e.k === "msg") e.n = ++room.n;
    room.log.push(e);
    tell(id, e);
    return e;
  }

  function tell(id, object) {
    for (const c of sockets) if (c.rooms.has(id)) c.say(object);
  }

  function typing(id, user, on) {
    const set = rooms.get(id).typing;
    if (on === set.has(user) && !on) return;
    if (on) set.set(user, true);
    else set.delete(user);
    tell(id, { t: "sig", room: id, k: "typing", d: { u: [...set.keys()].slice(0, 5) } });
  }

  await new Promise((resolve) => http.listen(port, "127.0.0.1", resolve));
  return {
    url: `http://localhost:${http.address().port}`,
    makeRoom,
    append,
    join: (id, user) => rooms.get(id).members.set(user, "member"),
    /** Cuts every socket as a dead network would. */
    cut: () => sockets.forEach((c) => c.tcp.destroy()),
    close: () => (sockets.forEach((c) => c.tcp.destroy()), http.close()),
  };
}

// ---- just enough of RFC 6455 ----

function frame(opcode, payload) {
  const n = payload.length;
  const head = n < 126 ? Buffer.from([128 | opcode, n]) : n < 65_536 ? Buffer.from([128 | opcode, 126, n >> 8, n & 255]) : Buffer.alloc(10);
  if (n >= 65_536) {
    head.set([128 | opcode, 127]);
    head.writeBigUInt64BE(BigInt(n), 2);
  }
  return Buffer.concat([head, payload]);
}

function frames(each) {
  let waiting = Buffer.alloc(0);
  let parts = [];
  let kind = 0;
  return (chunk) => {
    waiting = Buffer.concat([waiting, chunk]);
    for (;;) {
      if (waiting.length < 2) return;
      let at = 2;
      let n = waiting[1] & 127;
      if (n === 126) [n, at] = waiting.length < 4 ? [Infinity, 4] : [waiting.readUInt16BE(2), 4];
      else if (n === 127) [n, at] = waiting.length < 10 ? [Infinity, 10] : [Number(waiting.readBigUInt64BE(2)), 10];
      if (waiting.length < at + 4 + n) return;
      const mask = waiting.subarray(at, at + 4);
      const payload = Buffer.from(waiting.subarray(at + 4, at + 4 + n)).map((byte, i) => byte ^ mask[i & 3]);
      const opcode = waiting[0] & 15;
      const last = waiting[0] & 128;
      waiting = waiting.subarray(at + 4 + n);
      if (opcode >= 8) each(opcode, payload);
      else {
        if (opcode) kind = opcode;
        parts.push(payload);
        if (last) each(kind, Buffer.concat(parts));
        if (last) parts = [];
      }
    }
  };
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  const { url } = await startFake({ port: Number(process.argv[2] ?? 7600) });
  console.log(url);
}
