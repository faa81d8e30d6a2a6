-- Rooms, their logs, their members. Every room-scoped table leads with the room's number, so that a
-- room's rows lie together and the tables can be sharded by it.

CREATE TABLE rooms (
    no     INTEGER PRIMARY KEY,      -- never given twice
    id     TEXT NOT NULL UNIQUE,     -- stands nowhere else but in the event bytes
    epoch  TEXT NOT NULL,
    head   INTEGER NOT NULL,
    n      INTEGER NOT NULL,         -- messages so far
    first  INTEGER NOT NULL,         -- oldest event kept
    ts     INTEGER NOT NULL,         -- of the newest event
    kind   TEXT NOT NULL,
    name   TEXT,
    d      TEXT,
    by     TEXT,                     -- who made it
    members INTEGER NOT NULL,
    owners  INTEGER NOT NULL
);
CREATE INDEX rooms_by ON rooms (by) WHERE by IS NOT NULL;

-- standing: a role, or 'removed' or 'banned', which both also beat a token's grant.
CREATE TABLE members (
    room     INTEGER NOT NULL,
    user     TEXT NOT NULL,
    standing TEXT NOT NULL,
    PRIMARY KEY (room, user)
) WITHOUT ROWID;
CREATE INDEX members_user ON members (user, room);

-- id = room << 36 | seq: one B-tree, clustered by room, then number. (A WITHOUT ROWID table keyed by both
-- spills bodies to overflow pages early.)
-- bytes: the line as it is sent; sum: its checksum, seeded with the id, so that a row in a wrong place shows.
CREATE TABLE events (
    id    INTEGER PRIMARY KEY,
    ts    INTEGER NOT NULL,
    by    TEXT,
    kind  TEXT NOT NULL,
    sum   INTEGER NOT NULL,
    bytes BLOB NOT NULL
);

-- What was answered to a cid, and the hash of what was sent with it. user is '' for the application itself.
CREATE TABLE dedupe (
    room INTEGER NOT NULL,
    user TEXT NOT NULL,
    cid  TEXT NOT NULL,
    seq  INTEGER NOT NULL,
    n    INTEGER,
    ts   INTEGER NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (room, user, cid)
) WITHOUT ROWID;

-- Rooms that were deleted; their rows go in small steps.
CREATE TABLE graves (room INTEGER PRIMARY KEY);

CREATE TABLE users (
    user    TEXT PRIMARY KEY,
    name    TEXT,
    avatar  TEXT,
    revoked INTEGER                  -- tokens issued before this second are refused
) WITHOUT ROWID;

CREATE TABLE keys (
    name    TEXT PRIMARY KEY,
    hash    BLOB NOT NULL UNIQUE,    -- of the key, which is stored nowhere
    scope   TEXT NOT NULL,
    created INTEGER NOT NULL
) WITHOUT ROWID;

-- Single facts about the database: instance, file, clean.
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
