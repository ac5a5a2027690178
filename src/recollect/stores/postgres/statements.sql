-- {table} stands for a quoted name, :name for a bound value, <part> for another statement of this file.

-- ---- parts --------------------------------------------------------------------------------------

-- name: numbers
ARRAY[uid, version, message_count, token_count, archived_count, next_seq, fence, created_at,
      updated_at, expires_at, folded_at]

-- name: head_row
SELECT uid, namespace, name, owner, version, message_count, token_count, archived_count,
       stored_bytes, next_seq, fence, lease_holder, lease_until, created_at, updated_at, expires_at,
       folded_at

-- ---- the append in one statement ----------------------------------------------------------------

-- name: append_update
UPDATE {heads} SET
    owner = coalesce(:owner, owner), owner_hash = coalesce(:owner_hash, owner_hash),
    version = version + 1, message_count = message_count + :count,
    token_count = token_count + :tokens, stored_bytes = stored_bytes + :bytes,
    next_seq = next_seq + :count, updated_at = greatest(updated_at, :now),
    expires_at = :expires_at
WHERE address = :address AND (expires_at IS NULL OR expires_at > :now)
  AND message_count + :count <= :max_messages
  AND token_count + :tokens + (message_count + :count) * :overhead <= :max_tokens
  <unless_known>
RETURNING uid, next_seq, owner, expires_at, <numbers> AS numbers

-- name: append_seen_head
-- For a conversation that was there before.
head AS (<append_update>)

-- name: append_head
updated AS (<append_update>
), created AS (
    INSERT INTO {heads} (address, space, namespace, name, owner, owner_hash, version,
                         message_count, token_count, archived_count, stored_bytes, next_seq, fence,
                         created_at, updated_at, expires_at)
    SELECT :address, :space::bytea, :namespace::text, :name::text, :owner, :owner_hash, 1, :count, :tokens, 0, :bytes,
           :count + 1, 0, :now, :now, :expires_at
    WHERE NOT EXISTS (SELECT FROM {heads} WHERE address = :address)
      AND :count <= :max_messages AND :tokens + :count * :overhead <= :max_tokens
      <unless_deleted>
    ON CONFLICT (address) DO NOTHING
    RETURNING uid, next_seq, owner, expires_at, <numbers> AS numbers
), head AS (SELECT * FROM updated UNION ALL SELECT * FROM created)

-- name: unless_known
AND NOT EXISTS (SELECT FROM {keys} k WHERE k.uid = {heads}.uid AND k.name_hash = :key_hash)
<unless_deleted>

-- name: unless_deleted
AND NOT EXISTS (SELECT FROM {deleted}
                WHERE address_hash = :deleted_hash AND {deleted}.expires_at > :now)

-- name: append_row
added AS (
    INSERT INTO {messages} (uid, seq, tokens, stored_at, data)
    SELECT uid, next_seq - 1, :tokens, :now, :data::bytea FROM head
)

-- name: append_rows
added AS (
    INSERT INTO {messages} (uid, seq, tokens, stored_at, data)
    SELECT uid, next_seq - :count + place - 1, row_tokens, :now, data
    FROM head, unnest(:all_tokens::bigint[], :all_data::bytea[])
               WITH ORDINALITY AS row (row_tokens, data, place)
)

-- name: append_key
remembered AS (
    INSERT INTO {keys} (uid, name_hash, body_hash, expires_at, stores, first_seq, removed, numbers,
                        owner)
    SELECT uid, :key_hash::bytea, :body_hash::bytea, greatest(:key_until, expires_at), true,
           CASE WHEN :count > 0 THEN next_seq - :count END, 0, numbers, owner
    FROM head
)

-- name: append_metadata
unset AS (
    DELETE FROM {metadata} USING head
    WHERE {metadata}.uid = head.uid AND {metadata}.name_hash = ANY(:unset_hashes::bytea[])
), merged AS (
    INSERT INTO {metadata} (uid, name_hash, name, value)
    SELECT uid, name_hash, name, value
    FROM head, unnest(:set_hashes::bytea[], :set_names::bytea[], :set_values::bytea[])
               AS one (name_hash, name, value)
    ON CONFLICT (uid, name_hash) DO UPDATE SET value = excluded.value
)

-- name: appended
SELECT numbers, owner FROM head

-- name: append_together
-- Heads are locked in the order of their addresses, so that two of these never wait for each other.
-- Arrays of addresses and uids are looked up in an index; a join might walk through all heads.
WITH wanted AS (
    SELECT * FROM unnest(
        :addresses::bytea[], :owners::text[], :owner_hashes::bytea[], :writes::bigint[],
        :counts::bigint[], :tokens::bigint[], :bytes::bigint[], :lasts::bigint[],
        :deadlines::bigint[], :max_messages::bigint[], :max_tokens::bigint[], :overheads::bigint[]
    ) WITH ORDINALITY AS one (address, owner, owner_hash, writes, added, tokens, bytes, last,
                              deadline, max_messages, max_tokens, overhead, line)
), old AS (
    SELECT uid, updated_at FROM {heads} WHERE address = ANY(:addresses)
    ORDER BY address FOR NO KEY UPDATE
), head AS (
    UPDATE {heads} SET
        owner = coalesce(wanted.owner, {heads}.owner),
        owner_hash = coalesce(wanted.owner_hash, {heads}.owner_hash),
        version = version + writes, message_count = message_count + added,
        token_count = token_count + tokens, stored_bytes = stored_bytes + bytes,
        next_seq = next_seq + added, updated_at = greatest({heads}.updated_at, last),
        expires_at = deadline
    FROM old, wanted
    WHERE {heads}.uid = ANY(ARRAY(SELECT uid FROM old)) AND {heads}.uid = old.uid
      AND {heads}.address = wanted.address
      AND (expires_at IS NULL OR expires_at > last)
      AND message_count + added <= max_messages
      AND token_count + tokens + (message_count + added) * overhead <= max_tokens
    RETURNING line, next_seq - added AS seq, {heads}.uid, {heads}.owner, old.updated_at AS was_updated_at,
        ARRAY[{heads}.uid, version, message_count, token_count, archived_count, next_seq, fence,
              created_at, {heads}.updated_at, expires_at, folded_at] AS numbers
), stored AS (
    INSERT INTO {messages} (uid, seq, tokens, stored_at, data)
    SELECT uid, seq + row.place, row.tokens, row.stored_at, row.data
    FROM head JOIN unnest(:all_lines::bigint[], :all_places::bigint[], :all_tokens::bigint[],
                          :all_stored_at::bigint[], :all_data::bytea[])
                   AS row (line, place, tokens, stored_at, data) ON row.line = head.line
)
SELECT line, numbers, owner, was_updated_at FROM head

-- ---- heads --------------------------------------------------------------------------------------

-- name: lock_head
<head_row> FROM {heads} WHERE address = :address FOR NO KEY UPDATE

-- name: create_head
INSERT INTO {heads} (address, space, namespace, name, version, message_count, token_count,
                     archived_count, stored_bytes, next_seq, fence, created_at, updated_at)
VALUES (:address, :space, :namespace, :name, 0, 0, 0, 0, 0, 1, 0, :now, :now)
ON CONFLICT (address) DO NOTHING
RETURNING uid

-- name: save_head
UPDATE {heads} SET
    owner = :owner, owner_hash = :owner_hash, version = :version, message_count = :message_count,
    token_count = :token_count, archived_count = :archived_count, stored_bytes = :stored_bytes,
    next_seq = :next_seq, updated_at = :updated_at, expires_at = :expires_at,
    folded_at = :folded_at
WHERE uid = :uid

-- name: save_lease
UPDATE {heads} SET fence = :fence, lease_holder = :holder, lease_until = :until WHERE uid = :uid

-- name: bury_head
UPDATE {heads} SET address = NULL, expires_at = 0 WHERE uid = :uid

-- name: void_head
-- What a keyed delete leaves: no name, expired from the beginning, and its address taken until sweep.
UPDATE {heads} SET
    space = '', namespace = '', name = '', owner = NULL, owner_hash = NULL, version = 0,
    message_count = 0, token_count = 0, archived_count = 0, stored_bytes = 0, lease_holder = NULL,
    lease_until = NULL, expires_at = 0, folded_at = NULL
WHERE uid = :uid

-- name: delete_head
DELETE FROM {heads} WHERE uid = :uid

-- ---- messages and archive -----------------------------------------------------------------------

-- name: add_messages
INSERT INTO {messages} (uid, seq, tokens, stored_at, data)
SELECT :uid::bigint, seq, tokens, :now::bigint, data
FROM unnest(:seqs::bigint[], :tokens::bigint[], :data::bytea[]) AS row (seq, tokens, data)

-- name: weigh_messages
SELECT count(*) AS found, coalesce(sum(tokens), 0)::bigint AS tokens,
       coalesce(sum(octet_length(data)), 0)::bigint AS bytes
FROM {messages} WHERE uid = :uid AND seq = ANY(:seqs::bigint[])

-- name: archive_messages
INSERT INTO {archive} (uid, place, seq, tokens, stored_at, batch, data)
SELECT uid, :place::bigint + row_number() OVER (ORDER BY seq) - 1, seq, tokens, stored_at,
       :batch::bytea, data
FROM {messages} WHERE uid = :uid AND seq = ANY(:seqs::bigint[])

-- name: remove_messages
DELETE FROM {messages} WHERE uid = :uid AND seq = ANY(:seqs::bigint[])

-- name: weigh_all_messages
SELECT coalesce(sum(octet_length(data)), 0)::bigint AS bytes FROM {messages} WHERE uid = :uid

-- name: archive_all_messages
INSERT INTO {archive} (uid, place, seq, tokens, stored_at, batch, data)
SELECT uid, :place::bigint + row_number() OVER (ORDER BY seq) - 1, seq, tokens, stored_at,
       :batch::bytea, data
FROM {messages} WHERE uid = :uid

-- name: remove_all_messages
DELETE FROM {messages} WHERE uid = :uid

-- name: remove_archive
DELETE FROM {archive} WHERE uid = :uid

-- ---- metadata -----------------------------------------------------------------------------------

-- name: set_metadata
INSERT INTO {metadata} (uid, name_hash, name, value)
SELECT :uid::bigint, name_hash, name, value
FROM unnest(:hashes::bytea[], :names::bytea[], :values::bytea[]) AS one (name_hash, name, value)
ON CONFLICT (uid, name_hash) DO UPDATE SET value = excluded.value

-- name: unset_metadata
DELETE FROM {metadata} WHERE uid = :uid AND name_hash = ANY(:hashes::bytea[])

-- name: remove_metadata
DELETE FROM {metadata} WHERE uid = :uid

-- ---- keys ---------------------------------------------------------------------------------------

-- name: known
SELECT body_hash, stores, first_seq, removed, numbers, owner FROM {keys}
WHERE uid = :uid AND name_hash = :key_hash AND expires_at > :now

-- name: known_delete
SELECT body_hash, existed FROM {deleted} WHERE address_hash = :deleted_hash AND expires_at > :now

-- name: recall
SELECT first_seq, removed, numbers, owner FROM {keys}
WHERE uid = (SELECT uid FROM {heads}
             WHERE address = :address AND (expires_at IS NULL OR expires_at > :now))
  AND name_hash = :key_hash AND expires_at > :now AND stores

-- name: remember
INSERT INTO {keys} (uid, name_hash, body_hash, expires_at, stores, first_seq, removed, numbers,
                    owner)
VALUES (:uid, :key_hash, :body_hash, :until, :stores, :first_seq, :removed, :numbers, :owner)
ON CONFLICT (uid, name_hash) DO UPDATE SET
    body_hash = excluded.body_hash, expires_at = excluded.expires_at, stores = excluded.stores,
    first_seq = excluded.first_seq, removed = excluded.removed, numbers = excluded.numbers,
    owner = excluded.owner

-- name: remember_delete
INSERT INTO {deleted} (address_hash, body_hash, existed, expires_at)
VALUES (:deleted_hash, :body_hash, :existed, :until)
ON CONFLICT (address_hash) DO UPDATE SET
    body_hash = excluded.body_hash, existed = excluded.existed, expires_at = excluded.expires_at

-- name: remove_keys
DELETE FROM {keys} WHERE uid = :uid

-- ---- reads --------------------------------------------------------------------------------------

-- name: read_heads
-- First a row for each conversation with what is known of it, then its messages.
WITH h AS (
    SELECT * FROM {heads}
    WHERE address = ANY(:addresses::bytea[]) AND (expires_at IS NULL OR expires_at > :now)
)
SELECT 0::bigint AS seq, 0::bigint AS tokens, 0::bigint AS stored_at, NULL::bytea AS data,
       NULL::bytea AS batch, <summary>, uid, address FROM h
UNION ALL
SELECT chosen.* FROM h CROSS JOIN LATERAL (<slice>) AS chosen

-- name: read_head
-- The same of one conversation: without a join it takes a quarter less.
WITH h AS MATERIALIZED (
    SELECT * FROM {heads} WHERE address = :address AND (expires_at IS NULL OR expires_at > :now)
)
SELECT 0::bigint AS seq, 0::bigint AS tokens, 0::bigint AS stored_at, NULL::bytea AS data,
       NULL::bytea AS batch, <summary> FROM h
UNION ALL
(<slice>)

-- name: summary
owner, <numbers> AS numbers,
ARRAY(SELECT name FROM {metadata} WHERE {metadata}.uid = h.uid ORDER BY name_hash) AS names,
ARRAY(SELECT value FROM {metadata} WHERE {metadata}.uid = h.uid ORDER BY name_hash) AS vals

-- name: live
SELECT seq, tokens, stored_at, data, NULL::bytea AS batch, <nothing> FROM {messages}
WHERE uid = <uid> AND seq > :after ORDER BY seq LIMIT :limit OFFSET :offset

-- name: last_live
SELECT seq, tokens, stored_at, data, NULL::bytea AS batch, <nothing> FROM {messages}
WHERE uid = <uid> ORDER BY seq DESC LIMIT :limit

-- name: archived
SELECT seq, tokens, stored_at, data, batch, <nothing> FROM {archive}
WHERE uid = <uid> AND seq > :after AND (:batch::bytea IS NULL OR batch = :batch)
ORDER BY place LIMIT :limit OFFSET :offset

-- name: last_archived
SELECT seq, tokens, stored_at, data, batch, <nothing> FROM {archive}
WHERE uid = <uid> AND (:batch::bytea IS NULL OR batch = :batch)
ORDER BY place DESC LIMIT :limit

-- name: listed
SELECT namespace, name, owner, updated_at, uid, <numbers> AS numbers FROM {heads}
WHERE space = :space AND address IS NOT NULL AND (expires_at IS NULL OR expires_at > :now)
  AND updated_at BETWEEN :since AND :until
  AND active_at BETWEEN :since::bigint >> 20 AND :until::bigint >> 20
  AND substr(name, 1, length(:prefix::text)) = :prefix

-- name: find_active
<listed> AND namespace <> '' AND active_at <= :at::bigint >> 20 AND (updated_at, uid) < (:at, :uid)
ORDER BY active_at DESC, updated_at DESC, uid DESC LIMIT :limit

-- name: find_active_of_owner
<listed> AND owner_hash = :owner_hash
AND active_at <= :at::bigint >> 20 AND (updated_at, uid) < (:at, :uid)
ORDER BY active_at DESC, updated_at DESC, uid DESC LIMIT :limit

-- name: find_created
<listed> AND uid > :uid ORDER BY uid LIMIT :limit

-- name: find_created_of_owner
<listed> AND owner_hash = :owner_hash AND uid > :uid ORDER BY uid LIMIT :limit

-- name: measure
SELECT count(*) AS conversations, coalesce(sum(message_count), 0)::bigint AS messages,
       coalesce(sum(token_count), 0)::bigint AS tokens,
       coalesce(sum(archived_count), 0)::bigint AS archived,
       coalesce(sum(stored_bytes), 0)::bigint AS stored_bytes,
       min(created_at) AS oldest, max(created_at) AS newest
FROM {heads}
WHERE space = :space AND address IS NOT NULL AND (expires_at IS NULL OR expires_at > :now)
  AND (:owner_hash::bytea IS NULL OR owner_hash = :owner_hash)

-- name: ping
SELECT (SELECT count(*) FROM (SELECT uid FROM {heads} LIMIT 1) AS one) AS answers,
       current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS commits,
       current_database() AS database,
       (SELECT sum(pg_total_relation_size(to_regclass(name)))::bigint
        FROM unnest(:tables::text[]) AS name) AS used_bytes

-- ---- upkeep -------------------------------------------------------------------------------------

-- name: bury_expired
-- As an array the rows are looked for once; a join may look again, each time for as many more.
UPDATE {heads} SET address = NULL, expires_at = 0
WHERE uid = ANY(ARRAY(
    SELECT uid FROM {heads}
    WHERE sweep_at <= :now::bigint >> 32 AND expires_at <= :now AND address IS NOT NULL
    LIMIT :limit FOR UPDATE SKIP LOCKED
))

-- name: graves
SELECT uid FROM {heads} WHERE sweep_at <= 0 AND address IS NULL LIMIT :limit
FOR UPDATE SKIP LOCKED

-- name: sweep_messages
DELETE FROM {messages} WHERE uid = :uid
AND seq IN (SELECT seq FROM {messages} WHERE uid = :uid LIMIT :limit)

-- name: sweep_archive
DELETE FROM {archive} WHERE uid = :uid
AND place IN (SELECT place FROM {archive} WHERE uid = :uid LIMIT :limit)

-- name: sweep_keys
DELETE FROM {keys} WHERE uid = :uid
AND name_hash IN (SELECT name_hash FROM {keys} WHERE uid = :uid LIMIT :limit)

-- name: sweep_old_keys
DELETE FROM {keys} WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM {keys} WHERE expires_at <= :now LIMIT :limit FOR UPDATE SKIP LOCKED
))

-- name: sweep_deleted
DELETE FROM {deleted} WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM {deleted} WHERE expires_at <= :now LIMIT :limit FOR UPDATE SKIP LOCKED
))

-- ---- opening ------------------------------------------------------------------------------------

-- name: find_schema
-- Only when it reads a table does the server take notice of tables that others made meanwhile.
SELECT to_regclass(:schema_name) IS NOT NULL FROM pg_catalog.pg_namespace LIMIT 1

-- name: read_schema
SELECT version FROM {schema}

-- name: write_schema
INSERT INTO {schema} (version) VALUES (:version)

-- name: lock_schema
SELECT pg_advisory_xact_lock(:lock_number)
