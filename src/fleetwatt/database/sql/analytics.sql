-- vehicle_summary --
-- One vehicle's readings, DC energy and battery temperature over a window, and whether it was ever heard of.
-- Also what it drew from each meter that it was on. Cost: the vehicle's hours from the aggregate and two
-- partial hours of raw, and the same for each mapping; for a shared meter also for each vehicle on it.
-- Rows: one.
SELECT * FROM vehicle_summary(
    %(vehicle_id)s, %(start)s::timestamptz, %(end)s::timestamptz, %(closed)s, %(max_kw)s::double precision
)
