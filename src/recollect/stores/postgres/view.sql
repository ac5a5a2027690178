-- The live conversations in the columns of seed 004, for reading with SQL. PostgreSQL's JSON and texts
-- hold no NUL, so that it is shown as the replacement character, or left out of a name.

-- name: view
CREATE VIEW {table} AS
SELECT uid AS id, name AS conversation_id, owner AS user_id,
       coalesce((SELECT jsonb_agg(<clean_json_of_data> ORDER BY seq) FROM {messages} m
                 WHERE m.uid = h.uid), '[]') AS messages,
       coalesce((SELECT jsonb_object_agg(<clean_name>, <clean_json_of_value>) FROM {metadata} n
                 WHERE n.uid = h.uid), '{}') AS metadata,
       timestamptz 'epoch' + created_at * interval '1 microsecond' AS created_at,
       timestamptz 'epoch' + updated_at * interval '1 microsecond' AS updated_at
FROM {heads} h
WHERE address IS NOT NULL
  AND (expires_at IS NULL
       OR timestamptz 'epoch' + expires_at * interval '1 microsecond' > clock_timestamp())

-- name: clean_json_of_data
regexp_replace(convert_from(m.data, 'UTF8'), '(?<!\\)((?:\\\\)*)\\u0000', '\1\\ufffd', 'g')::jsonb

-- name: clean_json_of_value
regexp_replace(convert_from(n.value, 'UTF8'), '(?<!\\)((?:\\\\)*)\\u0000', '\1\\ufffd', 'g')::jsonb

-- name: clean_name
convert_from(decode(regexp_replace(encode(n.name, 'escape'), '(?<!\\)((?:\\\\)*)\\000', '\1', 'g'),
                    'escape'), 'UTF8')
