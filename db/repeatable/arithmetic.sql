-- In: a number. Out: the same to 10 decimals, which hides the noise of summing doubles; past 900,000 a double
-- has no more of them.
CREATE OR REPLACE FUNCTION rounded(value double precision) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN abs(value) < 9e5 THEN round(value * 1e10) / 1e10 ELSE value END;

-- In: a dividend, and a divisor that is never negative. Out: the quotient; NULL where the divisor is 0 or
-- unknown. To PostgreSQL a result that is too small or too large for a double is an error, which ends the
-- whole answer: so less than 1e-100 counts as 0, and no reading holds more than 1e100 (decision 27).
CREATE OR REPLACE FUNCTION quotient(
    dividend double precision, divisor double precision
)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN divisor >= 1e-100 THEN CASE WHEN abs(dividend) < 1e-100 THEN 0 ELSE dividend / divisor END
END;

-- In: kWh, and a part from 0 to 1. Out: that part of them. Less than 1e-100 counts as 0, as for quotient().
CREATE OR REPLACE FUNCTION part_of(kwh double precision, part double precision) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN abs(kwh) < 1e-100 THEN 0 ELSE kwh * part END;

-- In: the highest register so far. Out: by how much another may lie under it and still count as the same, as
-- registers jitter: a hundredth, which must not be too small for a double, and 1 kWh at most.
CREATE OR REPLACE FUNCTION fall_allowed(mark double precision) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN least(1, greatest(mark, 1e-300) / 100);
