-- replica_lag --
-- Asked of a replica: seconds since the transaction that it replayed last. 0 where it has replayed all that
-- it received and still receives; null where it is none. Cost: none.
-- Rows: one.
SELECT CASE
    WHEN NOT pg_is_in_recovery() THEN NULL
    -- What it received means nothing while it is cut off from the primary.
    WHEN EXISTS (SELECT FROM pg_stat_wal_receiver)
        AND pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn()
        THEN 0
    ELSE extract(epoch FROM now() - coalesce(pg_last_xact_replay_timestamp(), pg_postmaster_start_time()))
END::double precision AS lag

-- takes_writes --
-- Whether a transaction may write now: not on a standby, nor where somebody forbade it. Cost: none.
-- Rows: one.
SELECT NOT current_setting('transaction_read_only')::boolean AS takes_writes

-- commit_durably --
-- Lets this session wait for the disk, and for a synchronous standby if there is one, at each commit; what
-- waits for more stays as it is. Cost: none.
-- Rows: at most one.
SELECT set_config('synchronous_commit', 'on', false)
WHERE current_setting('synchronous_commit') IN ('off', 'local')

-- unsafe_settings --
-- The settings of the server by which a crash of its machine may cost what was acknowledged. Cost: none.
-- Rows: many.
SELECT name FROM pg_settings WHERE name IN ('fsync', 'full_page_writes') AND setting = 'off' ORDER BY name

-- schema_owner --
-- The role of this session, and the role that owns the schema. Cost: one look-up in the catalog.
-- Rows: at most one.
SELECT current_user::text AS role, pg_get_userbyid(relowner)::text AS owner
FROM pg_class WHERE oid = to_regclass('fleetwatt_schema')
