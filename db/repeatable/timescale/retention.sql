-- How long tables are kept and how raw readings are dropped: decision 10. The last three statements
-- may run again, too. "In" and "out" say what a function takes and returns.

-- How long each table is kept, by TimescaleDB's own policies, and up to when raw readings have been dropped.
CREATE OR REPLACE VIEW retention AS
SELECT table_name, kept.drop_after, dropped.dropped_before
FROM (
    SELECT hypertable_name::text AS table_name, (config ->> 'drop_after')::interval AS drop_after
    FROM timescaledb_information.jobs
    WHERE proc_name = 'policy_retention' AND hypertable_schema = current_schema()
) AS kept
FULL JOIN fleetwatt_dropped AS dropped USING (table_name);

-- In: a history table. Out: up to when raw readings have been dropped that the aggregates still have; NULL:
-- none were. In plpgsql, which keeps its plan.
CREATE OR REPLACE FUNCTION raw_dropped_before(history text) RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
    RETURN (SELECT dropped_before FROM fleetwatt_dropped WHERE table_name = history);
END
$$;

-- In: a table. Out: whether aggregates are made of it, so that it is raw, which the guard drops.
CREATE OR REPLACE FUNCTION is_raw(of_table text) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM timescaledb_information.continuous_aggregates
        WHERE hypertable_schema = current_schema() AND hypertable_name = of_table
    )
$$;

-- In: a history table and a time. Out: the spans of its chunks that end by then, without those that stand
-- alone because their neighbours have been dropped before.
CREATE OR REPLACE FUNCTION doomed(history text, before timestamptz) RETURNS tstzmultirange
LANGUAGE sql STABLE AS $$
    SELECT coalesce(range_agg(tstzrange(range_start, range_end)), '{}')
        - tstzmultirange(tstzrange(NULL, coalesce(max(dropped_before), '-infinity')))
    FROM timescaledb_information.chunks
    LEFT JOIN fleetwatt_dropped ON table_name = hypertable_name
    WHERE hypertable_schema = current_schema() AND hypertable_name = history AND range_end <= before
      AND range_end > coalesce(dropped_before, '-infinity')
$$;

-- In: a history table and a time. Out: which aggregate lacks readings of which of the doomed spans. Spans are
-- of whole chunks: a refresh does no more in them than is needed.
CREATE OR REPLACE FUNCTION unrefreshed(history text, before timestamptz)
RETURNS TABLE (aggregate text, span tstzrange)
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN QUERY
    SELECT view_name::text, doomed_span
    FROM timescaledb_information.continuous_aggregates
    CROSS JOIN LATERAL unnest(doomed(history, before)) AS doomed_span
    WHERE hypertable_schema = current_schema() AND hypertable_name = history
      AND stale_hours(view_name::text, doomed_span) <> '{}';
END
$$;

-- Materializes what the aggregates lack of the chunks of a history table that end by a time. Commits: not to
-- be called inside a transaction.
CREATE OR REPLACE PROCEDURE settle(history text, before timestamptz)
LANGUAGE plpgsql AS $$
DECLARE
    pending record;
BEGIN
    FOR pending IN
        SELECT aggregate::regclass AS aggregate, lower(span) AS since, upper(span) AS until
        FROM unrefreshed(history, before)
    LOOP
        CALL refresh_continuous_aggregate(pending.aggregate, pending.since, pending.until);
    END LOOP;
END
$$;

-- Drops the chunks of a history table that end by a time, and records it.
CREATE OR REPLACE PROCEDURE drop_and_record(history text, before timestamptz)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM drop_chunks(history::regclass, older_than => before);
    INSERT INTO fleetwatt_dropped AS known VALUES (history, before)
    ON CONFLICT (table_name)
    DO UPDATE SET dropped_before = greatest(known.dropped_before, excluded.dropped_before);
END
$$;

-- Drops the chunks of a history table that end by a time, once the aggregates have all that is in them. A
-- reading may still come while they are refreshed: so the last look is taken under a lock that writers wait
-- for, in the transaction that drops; it waits briefly for others' transactions, as inserts wait behind it.
-- Commits, and fails where readings come in between five times.
CREATE OR REPLACE PROCEDURE drop_raw(history text, before timestamptz)
LANGUAGE plpgsql AS $$
DECLARE
    newest timestamptz;
BEGIN
    FOR attempt IN 1..5 LOOP
        CALL settle(history, before);
        SELECT max(range_end) INTO newest
        FROM timescaledb_information.chunks
        WHERE hypertable_schema = current_schema() AND hypertable_name = history AND range_end <= before;
        IF newest IS NULL THEN
            RETURN;
        END IF;
        COMMIT;
        PERFORM set_config('lock_timeout', '2s', true);
        EXECUTE format('LOCK TABLE %I IN SHARE ROW EXCLUSIVE MODE', history);
        IF NOT EXISTS (SELECT FROM unrefreshed(history, newest)) THEN
            CALL drop_and_record(history, newest);
            COMMIT;
            RETURN;
        END IF;
        COMMIT;
    END LOOP;
    RAISE EXCEPTION
        'nothing of % was dropped: late readings keep coming into what ends before %', history, newest;
END
$$;

-- The job that drops raw readings. It takes the dropping over from a policy that a DBA has added, and leaves
-- its interval as it is. TimescaleDB's scheduler runs it on its owner's search_path, which may name another
-- schema: so the job brings its own, in its config.
CREATE OR REPLACE PROCEDURE retention_guard(job_id integer, config jsonb)
LANGUAGE plpgsql AS $$
DECLARE
    kept record;
    path_before CONSTANT text := current_setting('search_path');
BEGIN
    PERFORM set_config('search_path', coalesce(config ->> 'search_path', path_before), false);
    FOR kept IN
        SELECT job.job_id AS id, job.scheduled, job.hypertable_name::text AS history,
            (job.config ->> 'drop_after')::interval AS drop_after
        FROM timescaledb_information.jobs AS job
        WHERE job.proc_name = 'policy_retention' AND job.hypertable_schema = current_schema()
          AND is_raw(job.hypertable_name::text) AND job.config ? 'drop_after'
        ORDER BY job.hypertable_name
    LOOP
        IF kept.scheduled THEN
            PERFORM alter_job(kept.id, scheduled => false);
            COMMIT;
        END IF;
        CALL drop_raw(kept.history, now() - kept.drop_after);
    END LOOP;
    PERFORM set_config('search_path', path_before, false);
END
$$;

-- In: nothing. Out: the guard's job; NULL: there is none, or it is not scheduled.
CREATE OR REPLACE FUNCTION guard_job() RETURNS integer
LANGUAGE sql STABLE AS $$
    SELECT job_id FROM timescaledb_information.jobs
    WHERE proc_schema = current_schema() AND proc_name = 'retention_guard' AND scheduled
$$;

-- In: a job. Out: what its last failure said; NULL: none is known.
CREATE OR REPLACE FUNCTION last_error(job integer) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT err_message FROM timescaledb_information.job_errors
    WHERE job_id = job
    ORDER BY finish_time DESC
    LIMIT 1
$$;

-- What the database's policies do, and how it went. A policy that drops raw is run by the guard and shows
-- the guard's runs.
CREATE OR REPLACE VIEW policy AS
WITH declared AS (
    SELECT
        job.*, guard_job() AS guard,
        proc_name = 'policy_retention' AND is_raw(hypertable_name::text) AS drops_raw,
        CASE proc_name
            WHEN 'policy_retention' THEN 'retention'
            WHEN 'policy_compression' THEN 'compression'
            WHEN 'policy_refresh_continuous_aggregate' THEN 'refresh'
        END AS kind
    FROM timescaledb_information.jobs AS job
    WHERE hypertable_schema = current_schema()
)
SELECT
    declared.hypertable_name::text AS table_name,
    declared.kind,
    coalesce(declared.config ->> 'drop_after', declared.config ->> 'compress_after')::interval AS after,
    (declared.config ->> 'start_offset')::interval AS start_offset,
    (declared.config ->> 'end_offset')::interval AS end_offset,
    NOT declared.drops_raw OR (NOT declared.scheduled AND declared.guard IS NOT NULL) AS guarded,
    runs.job_id,
    CASE WHEN runs.scheduled THEN runs.schedule_interval END AS every,
    NULLIF(stats.last_run_started_at, '-infinity') AS last_run,
    stats.last_run_status AS last_status,
    CASE WHEN stats.last_run_status = 'Failed' THEN last_error(runs.job_id) END AS last_error,
    CASE WHEN runs.scheduled THEN NULLIF(runs.next_start, '-infinity') END AS next_run
FROM declared
JOIN timescaledb_information.jobs AS runs ON runs.job_id = CASE
    WHEN declared.drops_raw AND NOT declared.scheduled THEN coalesce(declared.guard, declared.job_id)
    ELSE declared.job_id
END
LEFT JOIN timescaledb_information.job_stats AS stats ON stats.job_id = runs.job_id
WHERE declared.kind IS NOT NULL;

-- In: a table, a policy's procedure, its verb (drop or compress) and an age. Changes the age in the policy
-- that the table has. Out: its job; NULL: the table has none.
CREATE OR REPLACE FUNCTION change_policy(of_table text, policy text, verb text, age interval) RETURNS integer
LANGUAGE sql AS $$
    SELECT changed.job_id
    FROM timescaledb_information.jobs AS job
    CROSS JOIN LATERAL alter_job(
        job.job_id,
        config => job.config - (verb || '_created_before') || jsonb_build_object(verb || '_after', age)
    ) AS changed
    WHERE proc_name = policy AND hypertable_schema = current_schema() AND hypertable_name = of_table
$$;

-- In: a history table and how far back its aggregates' refreshes are to reach.
CREATE OR REPLACE FUNCTION set_refresh_start(of_table text, refresh_from interval) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM alter_job(job_id, config => job.config || jsonb_build_object('start_offset', refresh_from))
    FROM timescaledb_information.jobs AS job
    JOIN timescaledb_information.continuous_aggregates AS aggregate
        ON view_schema = job.hypertable_schema AND view_name = job.hypertable_name
    WHERE job.proc_name = 'policy_refresh_continuous_aggregate'
      AND aggregate.hypertable_schema = current_schema() AND aggregate.hypertable_name = of_table;
END
$$;

-- In: a table, how long it is kept (NULL: for ever), and how far back its aggregates' refreshes are to reach
-- (NULL: as they do).
CREATE OR REPLACE FUNCTION set_retention(of_table text, keep interval, refresh_from interval) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    job integer;
BEGIN
    IF keep IS NULL THEN
        PERFORM remove_retention_policy(of_table::regclass, if_exists => true);
    ELSE
        job := coalesce(
            change_policy(of_table, 'policy_retention', 'drop', keep),
            add_retention_policy(of_table::regclass, drop_after => keep)
        );
        IF is_raw(of_table) THEN
            PERFORM alter_job(job, scheduled => false);
        END IF;
    END IF;
    IF refresh_from IS NOT NULL THEN
        PERFORM set_refresh_start(of_table, refresh_from);
    END IF;
END
$$;

-- In: a table and after how long its chunks become columnstore; NULL: never.
CREATE OR REPLACE FUNCTION set_compression(of_table text, after interval) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF after IS NULL THEN
        CALL remove_columnstore_policy(of_table::regclass, if_exists => true);
    ELSIF change_policy(of_table, 'policy_compression', 'compress', after) IS NULL THEN
        CALL add_columnstore_policy(of_table::regclass, after => after);
    END IF;
END
$$;

SELECT add_job('retention_guard', INTERVAL '1 hour')
WHERE NOT EXISTS (
    SELECT FROM timescaledb_information.jobs
    WHERE proc_schema = current_schema() AND proc_name = 'retention_guard'
);

-- One that was made before there were roles is not the owner's, and finds the schema by its own owner's path.
SELECT alter_job(job_id, config => jsonb_build_object('search_path', path))
FROM timescaledb_information.jobs
CROSS JOIN (
    SELECT string_agg(quote_ident(name), ', ') AS path FROM unnest(current_schemas(false)) AS name
) AS resolved
WHERE proc_schema = current_schema() AND proc_name = 'retention_guard' AND pg_has_role(owner, 'USAGE');

-- What was set on the Apache edition goes on here, once: nothing is dropped that would have stayed there. The
-- aggregates are kept no shorter than raw and refreshed as far back. Less than 27 hours would not let raw be
-- refreshed first.
DO $$
DECLARE
    stream record;
BEGIN
    IF to_regclass('fleetwatt_retention') IS NULL THEN
        RETURN;
    END IF;
    FOR stream IN
        SELECT hypertable_name::text AS history, view_name::text AS hourly,
            CASE WHEN drop_after IS NOT NULL THEN greatest(drop_after, INTERVAL '27 hours') END AS keep
        FROM timescaledb_information.continuous_aggregates
        LEFT JOIN fleetwatt_retention ON table_name = hypertable_name
        WHERE hypertable_schema = current_schema()
    LOOP
        PERFORM set_retention(stream.history, stream.keep, stream.keep - INTERVAL '1 day');
        IF stream.keep IS NULL THEN
            PERFORM set_retention(stream.hourly, NULL, NULL);
            PERFORM alter_job(job_id, config => config || '{"start_offset": null}')
            FROM timescaledb_information.jobs
            WHERE proc_name = 'policy_refresh_continuous_aggregate' AND hypertable_schema = current_schema()
              AND hypertable_name = stream.hourly;
        ELSE
            PERFORM set_retention(stream.hourly, greatest(stream.keep, INTERVAL '3650 days'), NULL);
        END IF;
    END LOOP;
    DROP TABLE fleetwatt_retention;
END
$$;
