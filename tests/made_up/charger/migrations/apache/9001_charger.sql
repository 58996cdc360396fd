-- Its hourly aggregate, as a view.

CREATE VIEW charger_hourly AS
SELECT
    charger_id,
    time_bucket(INTERVAL '1 hour', time)             AS bucket,
    count(*)                                         AS readings,
    date_part('epoch', min(time) - time_bucket(INTERVAL '1 hour', time)) AS first_second,
    date_part('epoch', max(time) - time_bucket(INTERVAL '1 hour', time)) AS last_second,
    first(kwh_dispensed, time)                       AS first_kwh,
    last(kwh_dispensed, time)                        AS last_kwh,
    min(kwh_dispensed)                               AS min_kwh,
    max(kwh_dispensed)                               AS max_kwh,
    steepest_kw(array_agg(kwh_dispensed ORDER BY time), array_agg(time ORDER BY time)) AS steepest_kw,
    deepest_fall(array_agg(kwh_dispensed ORDER BY time)) AS deepest_fall,
    min(connector_temp)                              AS min_connector_temp,
    max(connector_temp)                              AS max_connector_temp,
    sum(connector_temp)                              AS sum_connector_temp,
    count(connector_temp)                            AS count_connector_temp
FROM charger_telemetry
GROUP BY charger_id, bucket;
