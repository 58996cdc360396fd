-- exact_until --
-- Until when the hours of a window hold all that has arrived. Cost: a look at TimescaleDB's invalidation logs.
SELECT fleet_exact_until(%(start)s::timestamptz, %(end)s::timestamptz) AS exact_until

-- performance_page --
-- The vehicles' summaries after one key, in order of one of its figures; where it is null they come last, ties go by id.
-- `sorted_by` is the figure's column or vehicle_id, `direction` is 1 or -1. Cost: every device's hours of the window
-- from the aggregate and two look-ups in raw for each device, whatever the page; raw for each hour that is not
-- materialized, and for vehicles that moved or share a meter.
WITH ranked AS (
    SELECT
        summary.*,
        %(direction)s::double precision * CASE %(sorted_by)s $when_a_vehicle_figure END AS key,
        vehicle_id COLLATE "C" AS id
    FROM fleet_performance(%(start)s::timestamptz, %(end)s::timestamptz, %(low_coverage)s::double precision) AS summary
)
SELECT * FROM ranked
WHERE (%(efficiency_below)s::double precision IS NULL OR efficiency < %(efficiency_below)s)
  AND (%(warning)s::text IS NULL OR %(warning)s = ANY (warnings))
  AND CASE
      WHEN %(after_id)s::text IS NULL THEN true
      WHEN %(sorted_by)s = 'vehicle_id' AND %(direction)s < 0 THEN id < %(after_id)s
      WHEN key IS NOT DISTINCT FROM %(after_key)s::double precision THEN id > %(after_id)s
      ELSE key IS NULL OR key > %(after_key)s
  END
ORDER BY key NULLS LAST, CASE WHEN %(sorted_by)s = 'vehicle_id' AND %(direction)s < 0 THEN id END DESC, id
LIMIT %(limit)s

-- fleet_hours --
-- The whole fleet by the hour of a window. Cost: as performance_page.
SELECT * FROM fleet_hours(%(start)s::timestamptz, %(end)s::timestamptz)
