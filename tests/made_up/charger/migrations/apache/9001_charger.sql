-- Its hourly aggregate, as a view.

CREATE VIEW charger_hourly AS
SELECT
    charger_id,
    time_bucket(INTERVAL '1 hour', time)             AS bucket,
    count(*)                                         AS readings,
    min(time)                                        AS first_time,
    max(time)                                        AS last_time,
    first(kwh_dispensed, time)                       AS first_kwh,
    last(kwh_dispensed, time)                        AS last_kwh,
    (counter_steps(kwh_dispensed ORDER BY time))[2]  AS energy_kwh,
    (counter_steps(kwh_dispensed ORDER BY time))[3]  AS falls,
    min(connector_temp)                              AS min_connector_temp,
    max(connector_temp)                              AS max_connector_temp,
    sum(connector_temp)                              AS sum_connector_temp,
    count(connector_temp)                            AS count_connector_temp
FROM charger_telemetry
GROUP BY charger_id, bucket;
