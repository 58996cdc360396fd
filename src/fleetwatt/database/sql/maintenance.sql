-- maintainer --
-- The edition, and whether TimescaleDB's scheduler runs here: its launcher declares this setting; the
-- embedded database has none. Cost: none.
-- Rows: one.
SELECT
    current_setting('timescaledb.license') AS edition,
    current_setting('timescaledb.max_background_workers', true) IS NOT NULL AS has_scheduler

-- due_jobs --
-- The jobs that are due: refreshes first, what drops history last, so that what is dropped has been
-- materialized. This role may run those whose owner it is or is like. Cost: one look at the jobs' catalog.
-- Rows: many.
SELECT
    job_id, concat_ws(' on ', proc_name, hypertable_name) AS what, schedule_interval, retry_period,
    owner::text AS owner, pg_has_role(owner::oid, 'USAGE') AS is_ours
FROM timescaledb_information.jobs
WHERE scheduled AND coalesce(next_start, initial_start, '-infinity') <= now()
ORDER BY proc_name LIKE '%%retention%%', proc_name NOT LIKE '%%refresh%%', job_id

-- job_counts --
-- How many jobs there are, how many are due, and of how many the last run failed. Cost: one look at the jobs'
-- catalog.
-- Rows: one.
SELECT
    count(*) AS jobs,
    count(*) FILTER (
        WHERE scheduled AND coalesce(job.next_start, initial_start, '-infinity') <= now()
    ) AS due,
    count(*) FILTER (WHERE last_run_status = 'Failed') AS failing
FROM timescaledb_information.jobs AS job
LEFT JOIN timescaledb_information.job_stats USING (job_id)

-- plan_next_run --
-- Sets when a job is due again: run_job() does not. Cost: a row of the jobs' statistics.
-- Rows: one. Run once: it changes the job.
SELECT next_start FROM alter_job(%(job_id)s::integer, next_start => now() + %(after)s::interval)

-- failing_jobs --
-- The jobs whose last run failed, what the last error said, when they are due again and whose they are, as
-- due_jobs has them. Cost: one look at the jobs' catalog and at each one's errors.
-- Rows: many.
SELECT
    job_id, concat_ws(' on ', job.proc_name, job.hypertable_name) AS what,
    job.schedule_interval, job.retry_period,
    job.owner::text AS owner, pg_has_role(job.owner::oid, 'USAGE') AS is_ours,
    (
        SELECT err_message FROM timescaledb_information.job_errors AS failed
        WHERE failed.job_id = job.job_id ORDER BY start_time DESC LIMIT 1
    ) AS error
FROM timescaledb_information.jobs AS job
JOIN timescaledb_information.job_stats USING (job_id)
WHERE last_run_status = 'Failed'
ORDER BY job.proc_name LIKE '%%retention%%', job.proc_name NOT LIKE '%%refresh%%', job_id

-- kept --
-- How long history is kept, by table. Cost: one look at a small table or at the jobs' catalog.
-- Rows: many.
SELECT table_name, drop_after FROM retention WHERE drop_after IS NOT NULL ORDER BY table_name

-- drop_chunks --
-- Drops the chunks of a table that are wholly older than an interval, and says how many. Cost: a lock and a
-- file removal a chunk.
-- Rows: one. Run once: a second run says that there were none.
SELECT count(*) AS chunks FROM drop_chunks(%(table)s::regclass, older_than => %(drop_after)s::interval)
