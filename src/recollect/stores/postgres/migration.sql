-- What moves a table of the seed's shape aside, and reads it. No statement here takes a value but the
-- first: the rest is done once, under the lock that creating the tables takes.

-- name: find_seed_table
-- kind is that of whatever has the name of the seed's table, columns are its own.
SELECT (SELECT relkind::text FROM pg_catalog.pg_class WHERE oid = to_regclass(:table)) AS kind,
       ARRAY(SELECT attname::text FROM pg_catalog.pg_attribute
             WHERE attrelid = to_regclass(:table) AND attnum > 0 AND NOT attisdropped) AS columns,
       to_regclass(:migrating) IS NOT NULL AS is_begun,
       to_regclass(:original) IS NOT NULL AS was_done
FROM pg_catalog.pg_namespace LIMIT 1

-- name: move_aside
ALTER TABLE {table} RENAME TO {migrating_alone}

-- name: add_creation_time
-- A table that the original made has none; the default is one moment for all its rows.
ALTER TABLE {migrating} ADD COLUMN IF NOT EXISTS created_at timestamptz DEFAULT now()

-- name: add_activity_time
ALTER TABLE {migrating} ADD COLUMN IF NOT EXISTS updated_at timestamptz DEFAULT now()

-- name: fill_times
UPDATE {migrating}
SET created_at = coalesce(created_at, updated_at, now()),
    updated_at = coalesce(updated_at, created_at, now())
WHERE created_at IS NULL OR updated_at IS NULL

-- name: put_away
ALTER TABLE {migrating} RENAME TO {original_alone}

-- name: rows_before
SELECT conversation_id::text AS conversation_id, user_id::text AS user_id,
       messages::text AS messages, metadata::text AS metadata,
       NULL::timestamptz AS created_at, NULL::timestamptz AS updated_at
FROM {table}

-- name: rows_moved
SELECT conversation_id::text AS conversation_id, user_id::text AS user_id,
       messages::text AS messages, metadata::text AS metadata, created_at::timestamptz AS created_at,
       updated_at::timestamptz AS updated_at
FROM {migrating} ORDER BY created_at, conversation_id
