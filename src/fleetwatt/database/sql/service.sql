-- ping --
-- That the database answers. Cost: none.
-- Rows: one.
SELECT 1 AS answer

-- replica_lag --
-- Asked of a replica: seconds since the transaction that it replayed last, 0 where it has replayed all that
-- it received and goes on receiving, null where it is none. Cost: none.
-- Rows: one.
SELECT CASE
    WHEN NOT pg_is_in_recovery() THEN NULL
    -- What it received tells nothing while it is cut off from the primary.
    WHEN EXISTS (SELECT FROM pg_stat_wal_receiver)
        AND pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn()
        THEN 0
    ELSE extract(epoch FROM now() - coalesce(pg_last_xact_replay_timestamp(), pg_postmaster_start_time()))
END::double precision AS lag
