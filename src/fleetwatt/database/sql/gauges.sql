-- chunks --
-- The chunks of each history table and aggregate, compressed and not. Cost: a look at each chunk's catalog
-- entry; asked every few seconds.
-- Rows: many.
SELECT
    coalesce(aggregate.view_name, chunk.hypertable_name) AS "table",
    count(*) FILTER (WHERE is_compressed) AS compressed,
    count(*) FILTER (WHERE NOT is_compressed) AS uncompressed
FROM timescaledb_information.chunks AS chunk
LEFT JOIN timescaledb_information.continuous_aggregates AS aggregate
    ON aggregate.materialization_hypertable_schema = chunk.hypertable_schema
    AND aggregate.materialization_hypertable_name = chunk.hypertable_name
WHERE coalesce(aggregate.view_schema, chunk.hypertable_schema) = current_schema()
GROUP BY 1

-- jobs --
-- How each job of TimescaleDB's scheduler fares; times as Unix time, null where there is none. Cost: a look
-- at the jobs' catalog; asked every few seconds.
-- Rows: many.
SELECT
    job.proc_name AS proc,
    job.job_id::text AS job_id,
    coalesce(job.hypertable_name, '') AS "table",
    (stats.last_run_status IS NOT DISTINCT FROM 'Failed')::int AS failing,
    coalesce(stats.total_failures, 0) AS failures,
    CASE WHEN job.scheduled AND isfinite(stats.next_start)
        THEN extract(epoch FROM stats.next_start)::double precision END AS next_start_timestamp_seconds,
    -- It is year 1 or -infinity before the first.
    CASE WHEN isfinite(stats.last_successful_finish) AND stats.last_successful_finish > to_timestamp(0)
        THEN extract(epoch FROM stats.last_successful_finish)::double precision
    END AS last_success_timestamp_seconds
FROM timescaledb_information.jobs AS job
LEFT JOIN timescaledb_information.job_stats AS stats USING (job_id)
-- The Apache edition has one of TimescaleDB's own, which that license doesn't let run.
WHERE current_setting('timescaledb.license') <> 'apache'

-- database_size --
-- What the database takes on disk. Cost: a look at each of its files; asked every few seconds.
-- Rows: one.
SELECT pg_database_size(current_database()) AS bytes
