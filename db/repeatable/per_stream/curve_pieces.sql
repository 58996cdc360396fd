-- A device's curve in pieces (migrations/0013_curve.sql has what a piece is). Times are microseconds since
-- `origin`, a whole UTC hour.

-- In: an hour that needs no scan, cuts, and the time, the register and the mark of the last reading before
-- the hour. Out: the hour's readings from raw, a piece between two cuts.
CREATE OR REPLACE FUNCTION ${stream}_parted_hour(
    device text, origin timestamptz, hour timestamptz, cuts double precision[], before double precision[]
)
RETURNS SETOF curve_piece
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 2 AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH part AS (
        SELECT
            min(taken) AS first, max(taken) AS last, first(reading.kwh, taken) AS first_kwh,
            last(reading.kwh, taken) AS last_kwh, max(reading.kwh) AS highest, count(*) AS readings,
            sum(mean) AS mean_sum, count(mean) AS mean_count
        FROM ${stream}_readings(device, origin, hour, hour + INTERVAL '1 hour', 0) AS reading
        GROUP BY width_bucket(taken, cuts)
    ), marked AS (
        SELECT
            part.*, coalesce(lag(part.last) OVER life, before[1]) AS earlier,
            greatest(before[3], max(highest) OVER (life ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING))
                AS mark
        FROM part
        WINDOW life AS (ORDER BY part.first)
    )
    SELECT
        earlier, first, last, greatest(first_kwh - mark, 0),
        greatest(highest - mark, 0) - greatest(first_kwh - mark, 0), 'kept', last_kwh, readings, mean_sum,
        mean_count, false
    FROM marked;
END
$$;

-- In: a span, the time, register and mark of a kept reading before it, and how many readings after it decide
-- about its last ones. Out: all these readings from raw, a piece each. Where that seed is NULL, or what
-- follows it is not plausible, the scan begins as far back as it has to.
CREATE OR REPLACE FUNCTION ${stream}_scanned(
    device text, origin timestamptz, low timestamptz, high timestamptz, max_kw double precision,
    seed double precision[], ahead integer
)
RETURNS SETOF curve_piece
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 60 AS $$
#variable_conflict use_column
DECLARE
    begun     CONSTANT double precision := micros(origin, low);
    times     double precision[];
    registers double precision[];
    means     double precision[];
BEGIN
    SELECT array_agg(reading.taken), array_agg(reading.kwh), array_agg(reading.mean) INTO times, registers,
    means
    FROM ${stream}_readings(device, origin, low, high, ahead) AS reading;
    IF times IS NULL THEN
        RETURN;
    ELSIF plausible(registers[1], seed[2], times[1] - seed[1], max_kw) THEN
        times := seed[1] || times;
        registers := seed[2] || registers;
        means := NULL::double precision || means;
    ELSE
        seed := NULL;
        SELECT array_agg(reading.taken), array_agg(reading.kwh), array_agg(reading.mean) INTO times,
        registers, means
        FROM ${stream}_readings_older(
            device, origin,
            coalesce(${stream}_scan_start(device, low, max_kw, low - INTERVAL '1 day'), low), high, ahead
        ) AS reading;
    END IF;
    RETURN QUERY
    SELECT
        scan.earlier, times[number], times[number], scan.rise, NULL::double precision, scan.outcome,
        CASE WHEN scan.outcome <> 'ignored' THEN registers[number] END, 1::bigint, means[number],
        num_nonnulls(means[number])::bigint, false
    FROM curve_scan(times, registers, max_kw, seed[3]) AS scan
    WHERE times[number] >= begun;
END
$$;

-- In: a device and cuts. Out: the pieces that touch the span from the first cut to the last, and perhaps some
-- before and after it. Whole hours that are sure to be plain, as is the hour before, come from the aggregate.
-- Those that a cut parts come from a look at raw, all else from a scan of raw. Where raw is
-- gone the aggregate is all there is.
CREATE OR REPLACE FUNCTION ${stream}_pieces(
    device text, origin timestamptz, cuts double precision[], max_kw double precision
)
RETURNS SETOF curve_piece
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 100 AS $$
DECLARE
    low      CONSTANT timestamptz := origin + floor(cuts[1] / 3.6e9) * INTERVAL '1 hour';
    beyond   CONSTANT timestamptz :=
        origin + (floor(cuts[cardinality(cuts)] / 3.6e9) + 1) * INTERVAL '1 hour';
    fresh    CONSTANT tstzmultirange := ${stream}_fresh(low, beyond);
    hour     record;
    was_sure boolean := false;    -- the hour before is
    done     timestamptz := low;  -- up to here all that is not to be scanned is returned
    seed     double precision[];  -- what a scan may begin with, from `done` on
    scan     timestamptz;         -- where the scan begins that is to be done next; NULL: there is none
    its_seed double precision[];
BEGIN
    FOR hour IN SELECT * FROM ${stream}_curve_hours(device, origin, low, beyond, cuts, fresh, max_kw) LOOP
        IF hour.bucket >= low AND ((hour.piece).dropped OR (hour.sure AND was_sure)) THEN
            IF scan IS NOT NULL THEN
                RETURN QUERY
                SELECT * FROM ${stream}_scanned(device, origin, scan, hour.bucket, max_kw, its_seed, 0);
                scan := NULL;
            END IF;
            IF hour.parted THEN
                RETURN QUERY SELECT *
                    FROM ${stream}_parted_hour(device, origin, hour.bucket, cuts, hour.before);
            ELSE
                RETURN NEXT hour.piece;
            END IF;
            IF hour.bucket >= beyond THEN
                RETURN;
            END IF;
        ELSIF hour.bucket >= low AND scan IS NULL THEN
            scan := least(lower(tstzmultirange(tstzrange(done, hour.bucket)) - fresh), hour.bucket, beyond);
            its_seed := seed;
        END IF;
        EXIT WHEN hour.bucket >= beyond;
        done := hour.bucket + INTERVAL '1 hour';
        seed := hour.seed;
        was_sure := hour.sure;
    END LOOP;
    IF scan IS NULL THEN
        scan := least(lower(tstzmultirange(tstzrange(least(done, beyond), beyond)) - fresh), beyond);
        its_seed := seed;
    END IF;
    RETURN QUERY SELECT * FROM ${stream}_scanned(device, origin, scan, beyond, max_kw, its_seed, 7);
END
$$;
