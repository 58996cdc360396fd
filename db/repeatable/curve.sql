-- The register curve (docs/explanation/energy.md): which readings count, and by how much each lets the curve
-- rise. Times are microseconds since some whole UTC hour, which a double holds exactly; registers are kWh.
-- Nothing here reads a table.

-- In: a register, the mark that it had reached, and the microseconds since the reading before. Out: whether
-- it may come to that: it may jitter a little, and no device exceeds its power.
CREATE OR REPLACE FUNCTION plausible(
    value double precision, mark double precision, elapsed double precision, max_kw double precision
)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN value - mark >= -fall_allowed(mark) AND value - mark - 1 <= max_kw * (elapsed / 1e6) / 3600;

-- In: a time; the hour of the reading kept last; the highest register kept in it since the last reset;
-- that in the hour with readings before it (NULL: none). Out: the mark at that time: the highest register of
-- its own UTC hour so far and of the last one before.
CREATE OR REPLACE FUNCTION mark_at(
    at double precision, hour double precision, high double precision, low double precision
)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN floor(at / 3.6e9) = hour THEN greatest(high, low) ELSE high END;

-- In: readings, the number of the one kept last, and what mark_at() goes by. Out: how many of those after it
-- are a glitch, to be ignored: 0 to 5.
CREATE OR REPLACE FUNCTION glitch_after(
    last integer, times double precision[], registers double precision[], max_kw double precision,
    hour double precision, high double precision, low double precision
)
RETURNS integer
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    first_mark CONSTANT double precision := mark_at(times[last + 1], hour, high, low);
    leaves     CONSTANT boolean := NOT plausible(
        registers[last + 1], first_mark, times[last + 1] - times[last], max_kw
    );
    returns    boolean;
    mark       double precision;
    through    double precision;
BEGIN
    FOR back IN last + 2 .. least(last + 6, cardinality(times)) LOOP
        mark := mark_at(times[back], hour, high, low);
        CONTINUE WHEN NOT plausible(registers[back], mark, times[back] - times[last], max_kw);
        returns := NOT plausible(registers[back], registers[back - 1], times[back] - times[back - 1], max_kw);
        IF leaves AND returns THEN
            RETURN back - last - 1;
        ELSIF back = last + 2 AND leaves <> returns THEN
            through := CASE WHEN leaves THEN 0 ELSE greatest(registers[last + 1] - first_mark, 0) END
                + CASE WHEN returns THEN 0 ELSE greatest(registers[back] - registers[last + 1], 0) END;
            IF through - greatest(registers[back] - mark, 0) > 1 THEN
                RETURN 1;
            END IF;
        END IF;
    END LOOP;
    RETURN 0;
END
$$;

-- In: a device's readings in order of time, from one that is kept, and the mark that it ends its hour with
-- (NULL: it is all that is known). Out: a row for each reading: its number, when the reading kept before was
-- taken, what the curve rises by from there, and its outcome: `kept`, `ignored`, or a reset after a `fall` or
-- a `jump`.
CREATE OR REPLACE FUNCTION curve_scan(
    times double precision[], registers double precision[], max_kw double precision,
    first_mark double precision
)
RETURNS TABLE (number integer, earlier double precision, rise double precision, outcome text)
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE ROWS 100 AS $$
DECLARE
    total CONSTANT integer := cardinality(times);
    steady integer := 1;  -- all steps from the reading kept last up to this one are plausible
    hour   double precision := floor(times[1] / 3.6e9);
    high   double precision := coalesce(first_mark, registers[1]);
    low    double precision;
    mark   double precision;
    last   integer;
BEGIN
    number := 1;
    outcome := 'kept';
    RETURN NEXT;
    WHILE number < total LOOP
        last := number;
        steady := greatest(steady, last);
        WHILE steady < least(last + 6, total) AND plausible(
            registers[steady + 1], registers[steady], times[steady + 1] - times[steady], max_kw
        ) LOOP
            steady := steady + 1;
        END LOOP;
        number := last + 1;
        IF steady < least(last + 6, total) THEN
            outcome := 'ignored';
            earlier := NULL;
            rise := NULL;
            FOR ignored IN 1 .. glitch_after(last, times, registers, max_kw, hour, high, low) LOOP
                RETURN NEXT;
                number := number + 1;
            END LOOP;
        END IF;

        mark := mark_at(times[number], hour, high, low);
        earlier := times[last];
        IF plausible(registers[number], mark, times[number] - earlier, max_kw) THEN
            outcome := 'kept';
            rise := greatest(registers[number] - mark, 0);
            low := CASE WHEN floor(times[number] / 3.6e9) = hour THEN low ELSE high END;
            high := CASE
                WHEN floor(times[number] / 3.6e9) = hour THEN greatest(high, registers[number])
                ELSE registers[number]
            END;
        ELSE
            outcome := CASE WHEN registers[number] > mark THEN 'jump' ELSE 'fall' END;
            rise := 0;
            low := NULL;
            high := registers[number];
        END IF;
        hour := floor(times[number] / 3.6e9);
        RETURN NEXT;
    END LOOP;
END
$$;

-- In: two times. Out: the microseconds from one to the other.
CREATE OR REPLACE FUNCTION micros(since timestamptz, until timestamptz) RETURNS double precision
LANGUAGE sql STABLE PARALLEL SAFE
RETURN round(date_part('epoch', until - since) * 1e6);

-- In: what the curve rises by over a step from `earlier` to `later`, and a span. Out: what of it lies in the
-- span, as it rises evenly; NULL where the two have no time in common.
CREATE OR REPLACE FUNCTION risen(
    kwh double precision, earlier double precision, later double precision, start double precision,
    stop double precision
)
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN earlier < later AND earlier < stop AND start < later AND start < stop THEN
        part_of(kwh, (least(later, stop) - greatest(earlier, start)) / (later - earlier))
END;

-- In: a step and the ends of a span. Out: whether one of them cuts the step, and it is longer than `long`.
CREATE OR REPLACE FUNCTION is_estimated(
    earlier double precision, later double precision, start double precision, stop double precision,
    long double precision
)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN later - earlier > long AND ((earlier < start AND start < later) OR (earlier < stop AND stop < later));
