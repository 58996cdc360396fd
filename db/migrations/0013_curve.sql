-- What the register curve needs of history: docs/energy.md. A reading's register is never lost because
-- another value is missing.
ALTER TABLE meter_telemetry ALTER COLUMN voltage DROP NOT NULL;
ALTER TABLE meters_latest ALTER COLUMN voltage DROP NOT NULL;
ALTER TABLE vehicle_telemetry ALTER COLUMN soc DROP NOT NULL, ALTER COLUMN battery_temp DROP NOT NULL;
ALTER TABLE vehicles_latest ALTER COLUMN soc DROP NOT NULL, ALTER COLUMN battery_temp DROP NOT NULL;

-- The steepest rise above 1 kWh between neighbours, in kW; 0: none rises by more. Given are registers in kWh,
-- in order, and their times.
CREATE FUNCTION steepest_kw(registers double precision[], times timestamptz[]) RETURNS double precision
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    steepest double precision := 0;
BEGIN
    FOR i IN 2 .. cardinality(registers) LOOP
        IF registers[i] - registers[i - 1] > 1 THEN
            steepest := greatest(
                steepest,
                (registers[i] - registers[i - 1] - 1) * 3600 / date_part('epoch', times[i] - times[i - 1])
            );
        END IF;
    END LOOP;
    RETURN steepest;
END
$$;

-- By how much a register lies at most under the highest one before it, in kWh. Given are registers in order.
CREATE FUNCTION deepest_fall(registers double precision[]) RETURNS double precision
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    register double precision;
    highest  double precision := registers[1];
    deepest  double precision := 0;
BEGIN
    FOREACH register IN ARRAY registers LOOP
        IF register > highest THEN
            highest := register;
        ELSIF highest - register > deepest THEN
            deepest := highest - register;
        END IF;
    END LOOP;
    RETURN deepest;
END
$$;

-- A part of a device's curve between two cuts: a reading, or the readings of an hour. Times are microseconds
-- since some whole UTC hour.
CREATE TYPE curve_piece AS (
    earlier    double precision,  -- when the reading kept before was taken; NULL: there is none
    first      double precision,  -- when the first reading was taken, and the last
    last       double precision,
    first_rise double precision,  -- what the curve rises by, in kWh: from `earlier` to `first`, and after it
    rise       double precision,
    outcome    text,              -- kept, ignored, or a reset after a fall or a jump
    kwh        double precision,  -- the register that was kept last; NULL: none was
    readings   bigint,
    mean_sum   double precision,  -- of the measure whose mean is known, and of how many readings
    mean_count bigint,
    dropped    boolean            -- raw has it no more
);
