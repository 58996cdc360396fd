-- How long each table is kept. The hourly views end with raw.
CREATE OR REPLACE VIEW retention AS
SELECT table_name, drop_after, NULL::timestamptz AS dropped_before
FROM fleetwatt_retention;

-- In: a history table. Out: up to when raw readings have been dropped that the aggregates still have: they
-- have none.
CREATE OR REPLACE FUNCTION raw_dropped_before(history text) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN NULL::timestamptz;

-- What the database's policies do: nothing. `fleetwatt maintain` drops what retention says, and keeps no
-- record of its runs.
CREATE OR REPLACE VIEW policy AS
SELECT
    table_name,
    'retention'       AS kind,
    drop_after        AS after,
    NULL::interval    AS start_offset,
    NULL::interval    AS end_offset,
    true              AS guarded,
    NULL::integer     AS job_id,
    NULL::interval    AS every,
    NULL::timestamptz AS last_run,
    NULL::text        AS last_status,
    NULL::text        AS last_error,
    NULL::timestamptz AS next_run
FROM retention;

-- In: a history table, how long it is kept (NULL: for ever), and what Community needs: there is no refresh
-- window here to keep inside it.
CREATE OR REPLACE FUNCTION set_retention(of_table text, keep interval, refresh_from interval) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF keep IS NULL THEN
        DELETE FROM fleetwatt_retention WHERE table_name = of_table;
    ELSE
        INSERT INTO fleetwatt_retention VALUES (of_table, keep)
        ON CONFLICT (table_name) DO UPDATE SET drop_after = excluded.drop_after;
    END IF;
END
$$;

-- Fails: its message says why.
CREATE OR REPLACE FUNCTION set_compression(of_table text, after interval) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    RAISE feature_not_supported USING MESSAGE = 'the Apache edition of TimescaleDB has no columnstore';
END
$$;
