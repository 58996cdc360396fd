-- What the hourly aggregate has materialized, without its real-time half: that would be planned each time,
-- and never read.
DO $$
BEGIN
    EXECUTE (
        SELECT format(
            'CREATE OR REPLACE VIEW ${stream}_materialized AS SELECT * FROM %I.%I', schema_name, table_name
        )
        FROM _timescaledb_catalog.continuous_agg
        JOIN _timescaledb_catalog.hypertable ON hypertable.id = mat_hypertable_id
        WHERE user_view_schema = current_schema() AND user_view_name = '$hourly'
    );
END
$$;

-- Hours whose raw readings were dropped before the aggregate was made as it is: migration 0014 fills it.
CREATE TABLE IF NOT EXISTS ${hourly}_kept (LIKE $hourly, PRIMARY KEY ($id, bucket));

-- The hours that are known without raw: a row each, as the aggregate has them.
CREATE OR REPLACE VIEW ${stream}_known_hours AS
SELECT * FROM ${stream}_materialized
UNION ALL
SELECT * FROM ${hourly}_kept;
