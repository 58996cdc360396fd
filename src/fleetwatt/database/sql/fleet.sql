-- exact_until --
-- Until when the hours of a window hold all that has arrived. Cost: a look at TimescaleDB's invalidation
-- logs.
-- Rows: one.
SELECT fleet_exact_until(%(start)s::timestamptz, %(end)s::timestamptz) AS exact_until

-- performance_page --
-- The vehicles' summaries after one key, in order of one of its figures; where it is null they come last,
-- ties go by id. `sorted_by` is the figure's column or vehicle_id, `direction` is 1 or -1. Cost: every
-- device's hours of the window from the aggregate and two look-ups in raw for each device, whatever the page;
-- raw for each hour that is not materialized, and for vehicles that moved or share a meter.
-- Rows: many.
WITH ranked AS (
    SELECT
        summary.*,
        %(direction)s::double precision * CASE %(sorted_by)s $when_a_vehicle_figure END AS key,
        vehicle_id COLLATE "C" AS id
    FROM fleet_performance(
        %(start)s::timestamptz, %(end)s::timestamptz, %(low_coverage)s::double precision,
        %(max_kw)s::double precision
    ) AS summary
)
SELECT * FROM ranked
WHERE (%(efficiency_below)s::double precision IS NULL OR efficiency < %(efficiency_below)s)
  AND (%(site)s::text IS NULL OR vehicle_id = ANY (site_devices('vehicle', %(site)s)))
  AND (%(warning)s::text IS NULL OR %(warning)s = ANY (warnings))
  AND CASE
      WHEN %(after_id)s::text IS NULL THEN true
      WHEN %(sorted_by)s = 'vehicle_id' AND %(direction)s < 0 THEN id < %(after_id)s
      WHEN key IS NOT DISTINCT FROM %(after_key)s::double precision THEN id > %(after_id)s
      ELSE key IS NULL OR key > %(after_key)s
  END
ORDER BY key NULLS LAST, CASE WHEN %(sorted_by)s = 'vehicle_id' AND %(direction)s < 0 THEN id END DESC, id
LIMIT %(limit)s

-- fleet_buckets --
-- The whole fleet, or a site's devices, by the buckets between neighbouring boundaries, a row each. Cost: as
-- performance_page, where all boundaries are whole UTC hours; else each device is asked one by one.
-- Rows: many.
SELECT * FROM fleet_buckets(%(boundaries)s::timestamptz[], %(site)s::text, %(max_kw)s::double precision)

-- expected_readings --
-- How many readings a second are expected of all vehicles and of all meters, or of a site's: of those that
-- reported or are registered, each by its interval. Cost: one scan each of both latest tables and of the
-- register.
-- Rows: one.
SELECT
    (
        SELECT sum(1 / interval_seconds) FROM vehicle_device WHERE %(site)s::text IS NULL OR site = %(site)s
    ) AS vehicles,
    (
        SELECT sum(1 / interval_seconds) FROM meter_device WHERE %(site)s::text IS NULL OR site = %(site)s
    ) AS meters
