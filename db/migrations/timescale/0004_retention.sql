-- Raw readings are dropped by a job of ours, retention_guard(), for as long as TimescaleDB's retention policy says: docs/decisions/0010.

-- What retention has dropped of history. Readings older than that would stand alone in hours whose others are gone.
CREATE TABLE fleetwatt_dropped (
    table_name     text        PRIMARY KEY,
    dropped_before timestamptz NOT NULL
);
COMMENT ON TABLE fleetwatt_dropped IS 'Up to when retention_guard() has dropped raw readings, by history table';

CREATE FUNCTION forget_dropped() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM fleetwatt_dropped WHERE table_name = TG_TABLE_NAME;
    RETURN NULL;
END
$$;
-- Whoever empties history starts anew.
CREATE TRIGGER forget_dropped AFTER TRUNCATE ON meter_telemetry FOR EACH STATEMENT EXECUTE FUNCTION forget_dropped();
CREATE TRIGGER forget_dropped AFTER TRUNCATE ON vehicle_telemetry FOR EACH STATEMENT EXECUTE FUNCTION forget_dropped();

-- The policies stay, as the one place that says how long; the scheduler leaves the dropping to the guard.
SELECT alter_job(job_id, scheduled => false)
FROM timescaledb_information.jobs
WHERE proc_name = 'policy_retention' AND hypertable_schema = current_schema()
  AND hypertable_name IN ('meter_telemetry', 'vehicle_telemetry');
