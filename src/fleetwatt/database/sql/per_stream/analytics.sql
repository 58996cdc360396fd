-- counter_readings --
-- One device's register in a span, for the shares of a shared meter. Cost: one index range scan of raw.
SELECT time, $counter AS kwh FROM $history
WHERE $id = %(id)s AND time > %(start)s::timestamptz AND time <= %(end)s::timestamptz
ORDER BY time
