-- Times are microseconds since 1970, UTC. A conversation's rows are found by its uid, which is never
-- used twice. Messages and whatever may hold a NUL are bytes. Addresses are found by their hash: two
-- texts of 512 characters are more than an index takes.

-- name: heads
-- address is NULL in a grave, whose rows wait for sweep. The generated columns are coarse, so that
-- most updates change no index.
CREATE TABLE {heads} (
    uid bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    address bytea,
    space bytea NOT NULL,
    owner_hash bytea,
    version bigint NOT NULL,
    message_count bigint NOT NULL,
    token_count bigint NOT NULL,
    archived_count bigint NOT NULL,
    stored_bytes bigint NOT NULL,
    next_seq bigint NOT NULL,
    fence bigint NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    active_at bigint GENERATED ALWAYS AS (updated_at >> 20) STORED,
    expires_at bigint,
    sweep_at bigint GENERATED ALWAYS AS (expires_at >> 32) STORED,
    folded_at bigint,
    lease_until bigint,
    lease_holder text,
    namespace text NOT NULL,
    name text NOT NULL,
    owner text
) WITH (fillfactor = 60);

-- name: heads_by_address
CREATE UNIQUE INDEX {heads_by_address} ON {heads} (address);

-- name: heads_by_creation
CREATE INDEX {heads_by_creation} ON {heads} (space, uid);

-- name: heads_by_activity
-- Partial, so that it cannot serve a search of one owner's conversations: without statistics the server
-- takes it for as good as the index by owner, and would walk through everybody's.
CREATE INDEX {heads_by_activity} ON {heads} (space, active_at) WHERE namespace <> '';

-- name: heads_by_owner
CREATE INDEX {heads_by_owner} ON {heads} (space, owner_hash, active_at)
WHERE owner_hash IS NOT NULL;

-- name: heads_by_deadline
CREATE INDEX {heads_by_deadline} ON {heads} (sweep_at) WHERE sweep_at IS NOT NULL;

-- name: messages
CREATE TABLE {messages} (
    uid bigint NOT NULL,
    seq bigint NOT NULL,
    tokens bigint NOT NULL,
    stored_at bigint NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (uid, seq)
);

-- name: archive
-- The place is counted from 0, in the order of archiving; a seq may come again.
CREATE TABLE {archive} (
    uid bigint NOT NULL,
    place bigint NOT NULL,
    seq bigint NOT NULL,
    tokens bigint NOT NULL,
    stored_at bigint NOT NULL,
    batch bytea NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (uid, place)
);

-- name: metadata
CREATE TABLE {metadata} (
    uid bigint NOT NULL,
    name_hash bytea NOT NULL,
    name bytea NOT NULL,
    value bytea NOT NULL,
    PRIMARY KEY (uid, name_hash)
);

-- name: keys
-- numbers are those of the head right after the write.
CREATE TABLE {keys} (
    uid bigint NOT NULL,
    name_hash bytea NOT NULL,
    body_hash bytea NOT NULL,
    expires_at bigint NOT NULL,
    stores boolean NOT NULL,
    first_seq bigint,
    removed bigint NOT NULL,
    numbers bigint[] NOT NULL,
    owner text,
    PRIMARY KEY (uid, name_hash)
);

-- name: keys_by_deadline
CREATE INDEX {keys_by_deadline} ON {keys} (expires_at);

-- name: deleted
-- What is left of deletes that had a key: hashes only.
CREATE TABLE {deleted} (
    address_hash bytea PRIMARY KEY,
    body_hash bytea NOT NULL,
    existed boolean NOT NULL,
    expires_at bigint NOT NULL
);

-- name: deleted_by_deadline
CREATE INDEX {deleted_by_deadline} ON {deleted} (expires_at);

-- name: schema
CREATE TABLE {schema} (version bigint NOT NULL);
