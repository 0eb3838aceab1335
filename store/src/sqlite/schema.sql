-- The file's tables, format 1. A comment on each: the query that it serves. Column order matters: what is read without
-- the body stands before it, because a long body continues on pages of its own.

-- What the file is: format and the version that made it; `api_keys`, raised by every change to a key (a cheap poll);
-- `settled`, raised to settle the outcome of a failed commit; `room`, a filler that comes and goes while the writer
-- looks whether there is room again; `importing`, there from the beginning of an import until its end.
CREATE TABLE meta (
    name TEXT NOT NULL PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;

-- Which entities there are. `num` stands for the entity in positions; `wake` is when it wants to be woken
-- (microseconds); `snapshot` is the seq of its snapshot, 0 without one: an entity without is opened by two reads.
CREATE TABLE entity (
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    num INTEGER NOT NULL UNIQUE,
    wake INTEGER,
    snapshot INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;

-- Timers that are due, earliest first. Touched only when an entity's wake changes.
CREATE INDEX entity_wake ON entity (wake) WHERE wake IS NOT NULL;

-- Rows: `position` is num << 31 | seq. The head of an entity is its last position: one seek on the leaf that the
-- append writes anyway, so there is no second page to keep it on.
CREATE TABLE journal (
    position INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    format INTEGER NOT NULL,
    sum INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;

-- The latest snapshot of an entity.
CREATE TABLE snapshot (
    num INTEGER PRIMARY KEY,
    seq INTEGER NOT NULL,
    format INTEGER NOT NULL,
    sum INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;

-- Effects that are not yet delivered, by source.
CREATE TABLE outbox (
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    idx INTEGER NOT NULL,
    target_kind TEXT NOT NULL,
    target_id TEXT NOT NULL,
    sum INTEGER NOT NULL,
    command BLOB NOT NULL,
    PRIMARY KEY (kind, id, seq, idx)
) STRICT, WITHOUT ROWID;

-- Views: one row by (name, key), lists by key, descending. kind, id, seq: the journal row that wrote it.
CREATE TABLE view (
    name TEXT NOT NULL,
    key TEXT NOT NULL,
    filter TEXT NOT NULL,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    sum INTEGER NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (name, key)
) STRICT, WITHOUT ROWID;

-- Lists of one filter. Views without filters do not pay for it.
CREATE INDEX view_filter ON view (name, filter, key) WHERE filter <> '';

-- API keys: not derived from the journal, so no rebuild touches them.
CREATE TABLE api_key (
    id TEXT NOT NULL PRIMARY KEY,
    hash BLOB NOT NULL,
    role TEXT NOT NULL,
    shop TEXT,
    created_at INTEGER NOT NULL,
    revoked_at INTEGER,
    label TEXT,
    sum INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
