-- doctor_server --
-- Versions, edition, and what is known of the scheduler: null where this role may not see the server's
-- processes. Cost: none.
-- Rows: at most one.
SELECT
    version() AS version,
    current_setting('server_version') AS postgresql,
    installed_version AS timescaledb,
    default_version AS offered,
    current_setting('timescaledb.license', true) AS edition,
    current_setting('timescaledb.restoring', true) AS restoring,
    current_setting('timescaledb.max_background_workers', true) IS NOT NULL AS has_scheduler,
    EXISTS (SELECT FROM pg_extension WHERE extname = 'btree_gist') AS has_btree_gist,
    CASE WHEN pg_has_role('pg_read_all_stats', 'MEMBER') THEN EXISTS (
        SELECT FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'TimescaleDB Background Worker Scheduler'
    ) END AS scheduler_runs
FROM pg_available_extensions
WHERE name = 'timescaledb'

-- doctor_settings --
-- Settings that matter, numbers in their base unit, bytes where it is one of memory. Cost: none.
-- Rows: many.
SELECT
    name, setting,
    CASE
        WHEN unit = '8kB' THEN setting::bigint * 8192
        WHEN unit IS NULL AND setting ~ '^[0-9]+$' THEN setting::bigint
    END AS number
FROM pg_settings
WHERE name IN (
    'shared_buffers', 'timescaledb.max_background_workers', 'max_worker_processes', 'max_parallel_workers',
    'TimeZone', 'jit', 'timescaledb.telemetry_level', 'fsync', 'full_page_writes', 'transaction_read_only'
)
UNION ALL
SELECT 'databases', NULL, count(*) FROM pg_database WHERE datallowconn AND NOT datistemplate

-- doctor_archiver --
-- Whether the server archives WAL, when a file was last archived and when that last failed, and whether this
-- role may list pg_wal. Cost: none.
-- Rows: one.
SELECT
    current_setting('archive_mode') <> 'off' AS archives,
    last_archived_time, last_failed_time, last_failed_wal,
    has_function_privilege('pg_ls_waldir()', 'EXECUTE') AS may_list
FROM pg_stat_archiver

-- doctor_base_backup --
-- When the newest base backup ended: its record stays in pg_wal until a later one's is archived. Null: there
-- is none. Cost: a listing of pg_wal.
-- Rows: one.
SELECT max(modification) AS ended FROM pg_ls_waldir() WHERE name LIKE '%%.backup'

-- overdue_jobs --
-- The jobs that are overdue by two of their intervals and an hour; those that never ran are left out. Cost:
-- one look at the catalog.
-- Rows: many.
SELECT job_id, concat_ws(' on ', proc_name, hypertable_name) AS what, next_start
FROM timescaledb_information.jobs
WHERE scheduled AND next_start > '-infinity'
  AND next_start < now() - 2 * schedule_interval - INTERVAL '1 hour'
ORDER BY job_id

-- jobs_of_others --
-- The jobs of fleetwatt's own that are not the schema's owner's, whose `fleetwatt maintain` can't run them.
-- Cost: one look at the catalog.
-- Rows: many.
SELECT job_id, proc_name AS what, owner::text AS owner, relowner::regrole::text AS schema_owner
FROM timescaledb_information.jobs
JOIN pg_class ON oid = to_regclass('fleetwatt_schema')
WHERE proc_schema = current_schema() AND proc_name = 'retention_guard' AND owner::oid <> relowner
ORDER BY job_id

-- roles_that_add_jobs --
-- The roles that may log in and add jobs, besides superusers and the schema's owner. Cost: one look at the
-- catalog.
-- Rows: many.
SELECT rolname::text AS role
FROM pg_roles
JOIN pg_class ON pg_class.oid = to_regclass('fleetwatt_schema')
WHERE rolcanlogin AND NOT rolsuper AND NOT pg_has_role(rolname, relowner, 'USAGE')
  AND EXISTS (
      SELECT FROM pg_proc
      JOIN pg_depend ON classid = 'pg_proc'::regclass AND objid = pg_proc.oid AND deptype = 'e'
      JOIN pg_extension ON pg_extension.oid = refobjid AND extname = 'timescaledb'
      WHERE proname = 'add_job' AND has_function_privilege(rolname, pg_proc.oid, 'EXECUTE')
  )
ORDER BY rolname

-- expired_chunks --
-- The chunks that retention should have dropped two days ago. Cost: one look at the chunks' catalog.
-- Rows: many.
SELECT hypertable_name::text AS table_name, count(*) AS chunks, max(range_end) AS up_to
FROM timescaledb_information.chunks
JOIN retention ON table_name = hypertable_name
WHERE hypertable_schema = current_schema() AND range_end < now() - drop_after - INTERVAL '2 days'
GROUP BY hypertable_name
ORDER BY hypertable_name
