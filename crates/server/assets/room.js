// One room of the page: brings client, model and storage together.
//
// On the way in: try to subscribe; join where that is what is missing; offer to make it where it is not there.
// Never: joins again by itself after the user was removed.

import { newCid } from "/tertulia.js";
import { RoomModel } from "/model.js";

const SCREEN_EVENTS = 100;
const TYPING_MS = 8_000;
const SAVE_MS = 300;
const RETRY_MS = 1_000;

export class OpenRoom {
  /** `changed(room, what)` is called with `message`, `older`, `status`, `pending`, `typing` or `caught_up`. */
  constructor({ chat, store, id, me, name, changed }) {
    Object.assign(this, { chat, store, id, changed });
    this.model = new RoomModel(id, me);
    if (name) this.model.name = name;
    this.model.read = store.read(id);
    const saved = store.room(id);
    if (saved) this.model.restore(saved);
    this.model.joined = Boolean(saved); // only a room that one was in is stored
    this.model.recount();
    this.handle = chat.open(id, {
      position: saved?.epoch && { epoch: saved.epoch, last: saved.last },
      outbox: saved?.outbox,
      onEvent: (e) => this.event(e),
      onSignal: (k, d) => k === "typing" && this.typing(d.u ?? []),
      onNotice: (notice) => this.notice(notice),
    });
  }

  event(e) {
    const { model } = this;
    const entry = model.append(e);
    const foreign = Boolean(entry && !entry.note && e.by !== model.me);
    if (foreign) {
      model.unread += 1;
      if (model.typing.includes(e.by)) this.typing(model.typing.filter((user) => user !== e.by));
    }
    this.keep();
    this.changed(this, "message", foreign ? entry : null);
  }

  notice(notice) {
    const { model } = this;
    switch (notice.what) {
      case "attached": {
        const fresh = model.low === null;
        if (fresh) {
          model.clear(notice.base);
          model.n = notice.n;
          if (model.read?.epoch === notice.epoch) model.unread = Math.max(0, notice.n - model.read.n);
          else model.seen(notice.epoch);
        }
        Object.assign(model, { first: notice.first, role: notice.role, status: "open", code: null, joined: true });
        if (model.unread && model.line === null) model.line = model.read?.seq ?? null;
        if (fresh && this.wanted) this.older();
        break;
      }
      case "reset":
        model.clear(notice.base);
        model.line = model.read = null;
        if (this.wanted) this.older();
        break;
      case "hole": // the old side is let go; what is in between loads by scrolling
        model.clear(notice.upto);
        if (this.wanted) this.older();
        break;
      case "dropped":
        return this.dropped(notice.code);
      case "caught_up":
        return this.changed(this, "caught_up", notice.messages);
      case "sent":
        model.mark(notice.cid, "sent");
        this.keep();
        return this.changed(this, "pending");
      case "failed":
        model.mark(notice.cid, "failed", notice.code);
        this.keep();
        return this.changed(this, "pending");
    }
    this.keep();
    this.changed(this, "status");
  }

  async dropped(code) {
    const { model } = this;
    Object.assign(model, { status: model.joined ? "removed" : "refused", code });
    model.typing = [];
    if (code === "not_member" && !model.joined && this.wanted) return this.join();
    this.changed(this, "status");
  }

  join() {
    return this.ask({ t: "room", op: "join", room: this.id });
  }

  /** Makes the room, public: whoever knows its name may come in. */
  create(name) {
    return this.ask({ t: "room", op: "create", room: this.id, kind: "public", name });
  }

  /** Tries the door again. */
  enter() {
    this.model.status = "loading";
    this.model.joined = false;
    this.handle = this.chat.open(this.id);
    this.changed(this, "status");
  }

  async ask(command) {
    try {
      this.model.status = "loading";
      this.changed(this, "status");
      await this.chat.request(command);
      this.enter();
    } catch ({ code }) {
      Object.assign(this.model, { status: "refused", code });
      this.changed(this, "status");
    }
  }

  /** The user looks at this room: fill the screen. */
  look() {
    this.wanted = true;
    this.handle.prefer();
    if (this.model.low !== null && this.model.shown.length < SCREEN_EVENTS) this.older();
    if (this.model.status === "refused" && this.model.code === "not_member") this.join();
  }

  /** Loads the page of events above what is held. */
  async older() {
    const { model } = this;
    if (this.loading || !model.hasOlder || model.shut) return;
    this.loading = true;
    const upto = model.low;
    const after = Math.max(model.first - 1, upto - SCREEN_EVENTS);
    try {
      const events = [];
      for (let from = after; from < upto; ) {
        const page = await this.handle.log({ after: from, upto, limit: SCREEN_EVENTS });
        if (!page.evs.length) break;
        events.push(...page.evs);
        from = page.evs.at(-1).seq;
      }
      if (model.low === upto) this.changed(this, "older", model.prepend(events, after));
    } catch (error) {
      if (error.code === "trimmed") model.first = upto + 1;
      else await new Promise((after) => setTimeout(after, error.retry_ms ?? RETRY_MS));
    } finally {
      this.loading = false;
      this.changed(this, "status");
    }
  }

  send(text) {
    const cid = newCid();
    this.model.sending(cid, text, Date.now());
    this.model.line = null;
    this.handle.send({ text }, { cid }).catch(() => {}); // the notice has told the model
    this.keep();
    this.changed(this, "pending");
  }

  retry(cid) {
    this.model.mark(cid, "sending");
    this.handle.retry(cid);
    this.keep();
    this.changed(this, "pending");
  }

  discard(cid) {
    this.model.discard(cid);
    this.handle.discard(cid);
    this.keep();
    this.changed(this, "pending");
  }

  /** Who types now, all of them; forgotten when it is not said again. */
  typing(users) {
    clearTimeout(this.typingTimer);
    this.model.typing = users.filter((user) => user !== this.model.me);
    if (users.length) this.typingTimer = setTimeout(() => this.typing([]), TYPING_MS);
    this.changed(this, "typing");
  }

  seen() {
    const { epoch } = this.handle.position ?? {};
    if (!epoch || (this.model.read?.seq === this.model.last && !this.model.unread)) return;
    this.model.seen(epoch);
    this.store.saveRead(this.id, this.model.read);
  }

  /** Stores the room soon: position, events and outbox as one value. */
  keep() {
    this.keeping ??= setTimeout(() => this.keepNow(), SAVE_MS);
  }

  keepNow() {
    clearTimeout(this.keeping);
    this.keeping = null;
    if (this.model.shut && this.model.code === "not_found") return this.store.dropRoom(this.id);
    const position = this.handle.position;
    if (position && this.model.low !== null) this.store.saveRoom(this.id, this.model.save(position, this.handle.outbox));
  }
}
