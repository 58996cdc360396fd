-- API keys. The secrets themselves are nowhere: a key is found by its prefix and proven by its hash.

CREATE TABLE api_keys (
    prefix     text        PRIMARY KEY,
    hash       bytea       NOT NULL CHECK (octet_length(hash) = 32),
    name       text        NOT NULL,
    scopes     text[]      NOT NULL CHECK (scopes <> '{}' AND scopes <@ '{ingest,read,admin}'),
    devices    text[]      CHECK (devices <> '{}'),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    CONSTRAINT devices_only_write CHECK (devices IS NULL OR scopes = '{ingest}')
);
COMMENT ON TABLE api_keys IS 'Who may use the API, until when, and for what';
COMMENT ON COLUMN api_keys.hash IS 'SHA-256 of the whole key';
COMMENT ON COLUMN api_keys.devices IS 'Ids of the devices that it may write for; NULL: all';
COMMENT ON COLUMN api_keys.revoked_at IS 'From when on it is refused; a rotated key may have a while to go';

-- One row that changes whenever a key does, by whatever statement: what processes remember of keys holds until then.
CREATE TABLE api_keys_version (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    version  bigint  NOT NULL
);
INSERT INTO api_keys_version (version) VALUES (0);

-- In a migration, where functions are not kept otherwise: the trigger needs it at once.
CREATE FUNCTION api_keys_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE api_keys_version SET version = version + 1;
    RETURN NULL;
END
$$;
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON api_keys
FOR EACH STATEMENT EXECUTE FUNCTION api_keys_changed();
