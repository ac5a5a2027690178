-- ---- heads --------------------------------------------------------------------------------------

-- name: head
SELECT * FROM heads WHERE namespace = ? AND name = ?;

-- name: create_head
INSERT INTO heads (namespace, name, version, message_count, token_count, archived_count,
                   stored_bytes, next_seq, fence, created_at, updated_at)
VALUES (?, ?, 0, 0, 0, 0, 0, 1, 0, ?, ?);

-- name: save_head
UPDATE heads
SET owner = ?, version = ?, message_count = ?, token_count = ?, archived_count = ?,
    stored_bytes = ?, next_seq = ?, updated_at = ?, expires_at = ?, folded_at = ?
WHERE uid = ?;

-- name: save_sweep_at
UPDATE heads SET sweep_at = ? WHERE uid = ?;

-- name: save_lease
UPDATE heads SET fence = ?, lease_holder = ?, lease_until = ? WHERE uid = ?;

-- name: delete_head
DELETE FROM heads WHERE uid = ?;

-- ---- messages and archive -----------------------------------------------------------------------

-- name: add_message
INSERT INTO messages (uid, seq, tokens, stored_at, data) VALUES (?, ?, ?, ?, ?);

-- name: weigh_message
SELECT tokens, length(data) FROM messages WHERE uid = ? AND seq = ?;

-- name: archive_message
INSERT INTO archive (uid, place, seq, tokens, stored_at, batch, data)
SELECT uid, ?, seq, tokens, stored_at, ?, data FROM messages WHERE uid = ? AND seq = ?;

-- name: remove_message
DELETE FROM messages WHERE uid = ? AND seq = ?;

-- name: weigh_messages
SELECT coalesce(sum(length(data)), 0) FROM messages WHERE uid = ?;

-- name: archive_messages
INSERT INTO archive (uid, place, seq, tokens, stored_at, batch, data)
SELECT uid, ? + row_number() OVER (ORDER BY seq) - 1, seq, tokens, stored_at, ?, data
FROM messages WHERE uid = ?;

-- name: remove_messages
DELETE FROM messages WHERE uid = ?;

-- name: remove_archive
DELETE FROM archive WHERE uid = ?;

-- name: live
SELECT seq, tokens, stored_at, data, NULL FROM messages
WHERE uid = ? AND seq > ? ORDER BY seq LIMIT ? OFFSET ?;

-- name: last_live
SELECT seq, tokens, stored_at, data, NULL FROM messages
WHERE uid = ? ORDER BY seq DESC LIMIT ?;

-- name: archived
SELECT seq, tokens, stored_at, data, batch FROM archive
WHERE uid = :uid AND seq > :after AND (:batch IS NULL OR batch = :batch)
ORDER BY place LIMIT :limit OFFSET :offset;

-- name: last_archived
SELECT seq, tokens, stored_at, data, batch FROM archive
WHERE uid = :uid AND (:batch IS NULL OR batch = :batch)
ORDER BY place DESC LIMIT :limit;

-- ---- metadata -----------------------------------------------------------------------------------

-- name: metadata
SELECT name, value FROM metadata WHERE uid = ?;

-- name: set_metadata
INSERT INTO metadata (uid, name, value) VALUES (?, ?, ?)
ON CONFLICT (uid, name) DO UPDATE SET value = excluded.value;

-- name: unset_metadata
DELETE FROM metadata WHERE uid = ? AND name = ?;

-- name: remove_metadata
DELETE FROM metadata WHERE uid = ?;

-- ---- keys ---------------------------------------------------------------------------------------

-- name: known
SELECT body_hash, result FROM keys WHERE uid = ? AND name = ? AND expires_at > ?
UNION ALL
SELECT body_hash, result FROM tombstones WHERE address_hash = ? AND expires_at > ?;

-- name: recall
SELECT result FROM keys WHERE uid = ? AND name = ? AND expires_at > ? AND kind = 'written';

-- name: remember_key
-- It may replace one that is too old.
INSERT OR REPLACE INTO keys (id, uid, name, body_hash, kind, result, expires_at)
SELECT coalesce(max(id) + 1, ?), ?, ?, ?, ?, ?, ? FROM keys WHERE id BETWEEN ? AND ?;

-- name: remove_keys
DELETE FROM keys WHERE uid = ?;

-- name: remember_delete
INSERT INTO tombstones (address_hash, body_hash, result, expires_at) VALUES (?, ?, ?, ?)
ON CONFLICT (address_hash) DO UPDATE
SET body_hash = excluded.body_hash, result = excluded.result, expires_at = excluded.expires_at;

-- ---- upkeep -------------------------------------------------------------------------------------

-- name: discard
INSERT INTO garbage (uid) VALUES (?);

-- name: expired
SELECT uid, namespace, name FROM heads WHERE sweep_at <= :now AND expires_at <= :now LIMIT :limit;

-- name: garbage
SELECT uid FROM garbage LIMIT ?;

-- name: forget_garbage
DELETE FROM garbage WHERE uid = ?;

-- name: sweep_messages
DELETE FROM messages WHERE id IN (SELECT id FROM messages WHERE uid = ? LIMIT ?);

-- name: sweep_archive
DELETE FROM archive WHERE id IN (SELECT id FROM archive WHERE uid = ? LIMIT ?);

-- name: sweep_keys
DELETE FROM keys WHERE id IN (SELECT id FROM keys WHERE uid = ? LIMIT ?);

-- name: sweep_old_keys
DELETE FROM keys WHERE id IN (SELECT id FROM keys WHERE id < ? AND expires_at <= ? LIMIT ?);

-- name: sweep_tombstones
DELETE FROM tombstones WHERE address_hash IN (
    SELECT address_hash FROM tombstones WHERE expires_at <= ? LIMIT ?
);

-- ---- walks --------------------------------------------------------------------------------------

-- name: find_active
SELECT * FROM heads INDEXED BY heads_by_activity
WHERE namespace = :namespace AND updated_at BETWEEN :since AND :until
  AND (updated_at, uid) < (:at, :uid)
  AND (expires_at IS NULL OR expires_at > :now)
  AND substr(name, 1, length(:prefix)) = :prefix
ORDER BY updated_at DESC, uid DESC LIMIT :limit;

-- name: find_active_of_owner
SELECT * FROM heads INDEXED BY heads_by_owner
WHERE namespace = :namespace AND owner = :owner AND updated_at BETWEEN :since AND :until
  AND (updated_at, uid) < (:at, :uid)
  AND (expires_at IS NULL OR expires_at > :now)
  AND substr(name, 1, length(:prefix)) = :prefix
ORDER BY updated_at DESC, uid DESC LIMIT :limit;

-- name: find_created
SELECT * FROM heads INDEXED BY heads_by_creation
WHERE namespace = :namespace AND uid > :uid AND updated_at BETWEEN :since AND :until
  AND (expires_at IS NULL OR expires_at > :now)
  AND substr(name, 1, length(:prefix)) = :prefix
ORDER BY uid LIMIT :limit;

-- name: find_created_of_owner
SELECT * FROM heads INDEXED BY heads_by_owner
WHERE namespace = :namespace AND owner = :owner AND uid > :uid
  AND updated_at BETWEEN :since AND :until
  AND (expires_at IS NULL OR expires_at > :now)
  AND substr(name, 1, length(:prefix)) = :prefix
ORDER BY uid LIMIT :limit;

-- name: measure
SELECT count(*), coalesce(sum(message_count), 0), coalesce(sum(token_count), 0),
       coalesce(sum(archived_count), 0), coalesce(sum(stored_bytes), 0), min(created_at),
       max(created_at)
FROM heads
WHERE namespace = :namespace AND (:owner IS NULL OR owner = :owner)
  AND (expires_at IS NULL OR expires_at > :now);

-- name: ping
SELECT count(*) FROM (SELECT uid FROM heads LIMIT 1);
