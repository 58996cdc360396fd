-- exact_until --
-- Until when the hours of a window hold all that has arrived. Cost: a look at TimescaleDB's invalidation logs.
SELECT fleet_exact_until(%(start)s::timestamptz, %(end)s::timestamptz) AS exact_until

-- performance_page --
-- The vehicles' summaries after one key, in order of a figure; where it is null they come last, ties go by id.
-- `direction` is 1 or -1. Cost: every device's hours of the window from the aggregate and two look-ups in raw for
-- each device, whatever the page; raw for each hour that is not materialized, and for vehicles that moved or share a meter.
WITH ranked AS (
    SELECT
        summary.*,
        %(direction)s::double precision * CASE %(figure)s
            WHEN 'kwhConsumedAc' THEN kwh_consumed_ac
            WHEN 'kwhDeliveredDc' THEN kwh_delivered_dc
            WHEN 'kwhDeliveredDcMetered' THEN kwh_delivered_dc_metered
            WHEN 'efficiency' THEN efficiency
            WHEN 'avgBatteryTemp' THEN avg_battery_temp
            WHEN 'vehicleReadings' THEN vehicle_readings
            WHEN 'meterReadings' THEN meter_readings
            WHEN 'vehicleCoverage' THEN vehicle_coverage
            WHEN 'meterCoverage' THEN meter_coverage
            WHEN 'counterResets' THEN counter_resets
        END AS key,
        vehicle_id COLLATE "C" AS id
    FROM fleet_performance(%(start)s::timestamptz, %(end)s::timestamptz, %(low_coverage)s::double precision) AS summary
)
SELECT * FROM ranked
WHERE (%(efficiency_below)s::double precision IS NULL OR efficiency < %(efficiency_below)s)
  AND (%(warning)s::text IS NULL OR %(warning)s = ANY (warnings))
  AND CASE
      WHEN %(after_id)s::text IS NULL THEN true
      WHEN %(figure)s = 'vehicleId' AND %(direction)s < 0 THEN id < %(after_id)s
      WHEN key IS NOT DISTINCT FROM %(after_key)s::double precision THEN id > %(after_id)s
      ELSE key IS NULL OR key > %(after_key)s
  END
ORDER BY key NULLS LAST, CASE WHEN %(figure)s = 'vehicleId' AND %(direction)s < 0 THEN id END DESC, id
LIMIT %(limit)s

-- fleet_hours --
-- The whole fleet by the hour of a window. Cost: as performance_page.
SELECT * FROM fleet_hours(%(start)s::timestamptz, %(end)s::timestamptz)
