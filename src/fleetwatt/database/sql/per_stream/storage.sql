-- history_span --
-- The oldest and the newest reading that are stored. Cost: one look at each device's index in the oldest
-- chunk, and at latest.
-- Rows: one.
SELECT
    (
        SELECT min(first.time)
        FROM $latest AS device
        CROSS JOIN LATERAL (
            SELECT time FROM $history AS reading
            WHERE reading.$id = device.$id AND time < (
                SELECT min(range_end) FROM timescaledb_information.chunks
                WHERE hypertable_schema = current_schema() AND hypertable_name = '$history'
            )
            ORDER BY time
            LIMIT 1
        ) AS first
    ) AS oldest,
    (SELECT max(time) FROM $latest) AS newest

-- hourly_span --
-- The oldest and the newest hour that are materialized. Cost: both ends of the aggregate's index by time.
-- Rows: one.
SELECT min(bucket) AS oldest, max(bucket) AS newest
FROM $hourly
WHERE bucket < (
    SELECT _timescaledb_functions.to_timestamp(_timescaledb_functions.cagg_watermark(mat_hypertable_id))
    FROM _timescaledb_catalog.continuous_agg
    WHERE user_view_schema = current_schema() AND user_view_name = '$hourly'
)

-- gone_before --
-- The time before which raw readings are gone that the aggregate still has, or null: as recorded, or by the
-- chunks that are left. Cost: one look at the chunks' catalog and at the aggregate's index by time.
-- Rows: one.
SELECT greatest(
    raw_dropped_before('$history'),
    CASE WHEN EXISTS (SELECT FROM $hourly WHERE bucket < oldest) THEN oldest END
) AS gone_before
FROM (
    SELECT min(range_start) AS oldest FROM timescaledb_information.chunks
    WHERE hypertable_schema = current_schema() AND hypertable_name = '$history'
) AS chunks
