-- Times are microseconds since 1970, UTC. A conversation's rows are found by its uid, which is never
-- used twice. Messages lie in the order they came, whoever they belong to: if those of a conversation
-- lay together, each would go into the middle of the table and a commit would write three times as
-- many pages.

-- name: heads
-- sweep_at is expires_at rounded down to the hour, so that its index seldom changes.
CREATE TABLE heads (
    uid INTEGER PRIMARY KEY AUTOINCREMENT,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    owner TEXT,
    version INTEGER NOT NULL,
    message_count INTEGER NOT NULL,
    token_count INTEGER NOT NULL,
    archived_count INTEGER NOT NULL,
    stored_bytes INTEGER NOT NULL,
    next_seq INTEGER NOT NULL,
    fence INTEGER NOT NULL,
    lease_holder TEXT,
    lease_until INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    expires_at INTEGER,
    folded_at INTEGER,
    sweep_at INTEGER
);

-- name: heads_by_address
CREATE UNIQUE INDEX heads_by_address ON heads (namespace, name);

-- name: heads_by_creation
CREATE INDEX heads_by_creation ON heads (namespace);

-- name: heads_by_activity
CREATE INDEX heads_by_activity ON heads (namespace, updated_at);

-- name: heads_by_owner
CREATE INDEX heads_by_owner ON heads (namespace, owner, updated_at) WHERE owner IS NOT NULL;

-- name: heads_by_deadline
CREATE INDEX heads_by_deadline ON heads (sweep_at) WHERE sweep_at IS NOT NULL;

-- name: messages
CREATE TABLE messages (
    id INTEGER PRIMARY KEY,
    uid INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    stored_at INTEGER NOT NULL,
    data BLOB NOT NULL
);

-- name: messages_by_seq
CREATE UNIQUE INDEX messages_by_seq ON messages (uid, seq);

-- name: archive
-- The place is counted from 0, in the order of archiving; a seq may come again.
CREATE TABLE archive (
    id INTEGER PRIMARY KEY,
    uid INTEGER NOT NULL,
    place INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    stored_at INTEGER NOT NULL,
    batch TEXT NOT NULL,
    data BLOB NOT NULL
);

-- name: archive_by_place
CREATE UNIQUE INDEX archive_by_place ON archive (uid, place);

-- name: metadata
CREATE TABLE metadata (
    uid INTEGER NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (uid, name)
) WITHOUT ROWID;

-- name: keys
-- The id is the deadline in milliseconds << 20, plus a number: the table lies in order of deadline.
CREATE TABLE keys (
    id INTEGER PRIMARY KEY,
    uid INTEGER NOT NULL,
    name TEXT NOT NULL,
    body_hash BLOB NOT NULL,
    kind TEXT NOT NULL,
    result BLOB NOT NULL,
    expires_at INTEGER NOT NULL
);

-- name: keys_by_name
CREATE UNIQUE INDEX keys_by_name ON keys (uid, name);

-- name: tombstones
-- What is left of deletes that had a key: hashes only.
CREATE TABLE tombstones (
    address_hash BLOB PRIMARY KEY,
    body_hash BLOB NOT NULL,
    result BLOB NOT NULL,
    expires_at INTEGER NOT NULL
) WITHOUT ROWID;

-- name: tombstones_by_deadline
CREATE INDEX tombstones_by_deadline ON tombstones (expires_at);

-- name: garbage
-- Conversations that no head names any more; their rows are invisible and wait for sweep.
CREATE TABLE garbage (uid INTEGER PRIMARY KEY);
