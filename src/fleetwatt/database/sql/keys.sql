-- key --
-- The API key of a prefix. Cost: one look-up by primary key, once a process until a key changes.
-- Rows: at most one.
SELECT
    prefix, hash, name, scopes, devices, names_kinds, created_at, expires_at, revoked_at,
    extract(epoch FROM least(expires_at, revoked_at) - now())::double precision AS seconds_left
FROM api_keys
WHERE prefix = %(prefix)s

-- keys_version --
-- A number that is another one after any change of a key. Cost: one row, every 5 seconds a process.
-- Rows: one.
SELECT version FROM api_keys_version

-- keys --
-- All API keys, the oldest first. Cost: the whole table, for the command alone.
-- Rows: many.
SELECT
    prefix, hash, name, scopes, devices, names_kinds, created_at, expires_at, revoked_at,
    extract(epoch FROM least(expires_at, revoked_at) - now())::double precision AS seconds_left
FROM api_keys
ORDER BY created_at, prefix

-- create_key --
-- Adds an API key. Cost: one row.
-- Rows: one. Run once: a second run fails.
INSERT INTO api_keys (prefix, hash, name, scopes, devices, names_kinds, expires_at)
VALUES (
    %(prefix)s, %(hash)s, %(name)s, %(scopes)s::text[], %(devices)s::text[], true,
    now() + %(lifetime)s::interval
)
RETURNING
    prefix, hash, name, scopes, devices, names_kinds, created_at, expires_at, revoked_at,
    extract(epoch FROM least(expires_at, revoked_at) - now())::double precision AS seconds_left

-- revoke_key --
-- Ends an API key now; one that has been ended stays as it was. Cost: one look-up by primary key.
-- Rows: at most one. Run once: it changes the key.
UPDATE api_keys SET revoked_at = least(revoked_at, now()) WHERE prefix = %(prefix)s
RETURNING
    prefix, hash, name, scopes, devices, names_kinds, created_at, expires_at, revoked_at,
    extract(epoch FROM least(expires_at, revoked_at) - now())::double precision AS seconds_left

-- rotate_key --
-- Gives an API key that is valid a successor of the same rights and as long a life, and ends it after a
-- while. Cost: two rows.
-- Rows: at most one. Run once: a second run finds the old key ended.
WITH old AS (
    UPDATE api_keys SET revoked_at = least(revoked_at, now() + %(grace)s::interval)
    WHERE prefix = %(prefix)s AND coalesce(least(expires_at, revoked_at) > now(), true)
    RETURNING *
)
INSERT INTO api_keys (prefix, hash, name, scopes, devices, names_kinds, expires_at)
SELECT
    %(new_prefix)s, %(hash)s, name, scopes, devices, names_kinds, now() + (expires_at - created_at)
FROM old
RETURNING
    prefix, hash, name, scopes, devices, names_kinds, created_at, expires_at, revoked_at,
    extract(epoch FROM least(expires_at, revoked_at) - now())::double precision AS seconds_left
