// What the page remembers in this browser.
//
// A tab's rooms (position, events and outbox, written as one value so they never disagree) live in
// sessionStorage: two tabs are two readers. Drafts and read marks live in localStorage and outlast the tab.
// Never: the session id, which stays in memory; never throws, a full storage only remembers less.

const ROOM_BYTES = 400_000;

export class Store {
  constructor(user) {
    this.user = user;
  }

  room(id) {
    return get(sessionStorage, `tertulia.room.${this.user}.${id}`);
  }

  saveRoom(id, saved) {
    if (JSON.stringify(saved).length > ROOM_BYTES) {
      const events = saved.events.slice(-20);
      saved = { ...saved, events, low: events.length ? events[0].seq - 1 : saved.last };
    }
    put(sessionStorage, `tertulia.room.${this.user}.${id}`, saved);
  }

  dropRoom(id) {
    sessionStorage.removeItem(`tertulia.room.${this.user}.${id}`);
  }

  draft(id) {
    return get(localStorage, `tertulia.draft.${this.user}.${id}`) ?? "";
  }

  saveDraft(id, text) {
    put(localStorage, `tertulia.draft.${this.user}.${id}`, text || undefined);
  }

  read(id) {
    return get(localStorage, `tertulia.read.${this.user}.${id}`);
  }

  saveRead(id, mark) {
    put(localStorage, `tertulia.read.${this.user}.${id}`, mark);
  }
}

/** Who this tab is: `{ user }` by dev sign-in or `{ token }` by hand. */
export const identity = {
  get: () => get(sessionStorage, "tertulia.identity"),
  set: (who) => put(sessionStorage, "tertulia.identity", who),
};

function get(storage, key) {
  try {
    return JSON.parse(storage.getItem(key));
  } catch {
    return null;
  }
}

function put(storage, key, value) {
  try {
    if (value === undefined || value === null) storage.removeItem(key);
    else storage.setItem(key, JSON.stringify(value));
  } catch {
    storage.removeItem(key); // half a state would be worse than none
  }
}
