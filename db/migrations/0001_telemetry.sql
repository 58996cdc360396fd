-- History, latest and mappings: the tables that both editions share.

CREATE EXTENSION IF NOT EXISTS btree_gist;

CREATE TABLE meter_telemetry (
    meter_id        text COLLATE "C"             NOT NULL,
    time            timestamptz      NOT NULL,
    kwh_consumed_ac double precision NOT NULL,
    voltage         double precision NOT NULL
);
COMMENT ON TABLE meter_telemetry IS 'History of the stream meter: every reading once, append-only';
COMMENT ON COLUMN meter_telemetry.kwh_consumed_ac IS 'Cumulative AC energy register, kWh';
COMMENT ON COLUMN meter_telemetry.voltage IS 'Grid voltage, V';

CREATE TABLE vehicle_telemetry (
    vehicle_id       text COLLATE "C"             NOT NULL,
    time             timestamptz      NOT NULL,
    soc              double precision NOT NULL,
    kwh_delivered_dc double precision NOT NULL,
    battery_temp     double precision NOT NULL
);
COMMENT ON TABLE vehicle_telemetry IS 'History of the stream vehicle: every reading once, append-only';
COMMENT ON COLUMN vehicle_telemetry.soc IS 'State of charge, percent';
COMMENT ON COLUMN vehicle_telemetry.kwh_delivered_dc IS 'Cumulative DC energy register, kWh';
COMMENT ON COLUMN vehicle_telemetry.battery_temp IS 'Battery temperature, degrees Celsius';

-- The default index on time alone would cost every insert and serve no query: the unique one does it all.
SELECT create_hypertable('meter_telemetry', by_range('time', INTERVAL '1 day'), create_default_indexes => false);
SELECT create_hypertable('vehicle_telemetry', by_range('time', INTERVAL '1 day'), create_default_indexes => false);
CREATE UNIQUE INDEX meter_telemetry_id_time ON meter_telemetry (meter_id, time);
CREATE UNIQUE INDEX vehicle_telemetry_id_time ON vehicle_telemetry (vehicle_id, time);

-- Half-full pages leave room for HOT updates: only the primary key is indexed, so that every upsert stays in its page.
CREATE TABLE meters_latest (
    meter_id        text COLLATE "C"             PRIMARY KEY,
    time            timestamptz      NOT NULL,
    kwh_consumed_ac double precision NOT NULL,
    voltage         double precision NOT NULL,
    received_at     timestamptz      NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
COMMENT ON TABLE meters_latest IS 'The newest reading of each meter';

CREATE TABLE vehicles_latest (
    vehicle_id       text COLLATE "C"             PRIMARY KEY,
    time             timestamptz      NOT NULL,
    soc              double precision NOT NULL,
    kwh_delivered_dc double precision NOT NULL,
    battery_temp     double precision NOT NULL,
    received_at      timestamptz      NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
COMMENT ON TABLE vehicles_latest IS 'The newest reading of each vehicle';

CREATE TABLE vehicle_meter_mapping (
    vehicle_id text COLLATE "C"      NOT NULL,
    meter_id   text COLLATE "C"      NOT NULL,
    valid      tstzrange NOT NULL CHECK (NOT isempty(valid)),
    CONSTRAINT vehicle_on_one_meter_at_a_time EXCLUDE USING gist (vehicle_id WITH =, valid WITH &&)
);
CREATE INDEX vehicle_meter_mapping_meter ON vehicle_meter_mapping USING gist (meter_id, valid);
COMMENT ON TABLE vehicle_meter_mapping IS 'Which meter a vehicle draws from, [from, to); an unbounded lower end means always, an unbounded upper end means still';

-- The energy of a counter and its falls within a group, as counter_steps(value ORDER BY time).
-- State: {last value, energy in kWh, falls}. It starts from NULL: NaN would sort above every number.
CREATE FUNCTION counter_step(state double precision[], value double precision) RETURNS double precision[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    IF state IS NULL THEN
        RETURN ARRAY[value, 0, 0];
    ELSIF value < state[1] THEN
        RETURN ARRAY[value, state[2], state[3] + 1];
    END IF;
    RETURN ARRAY[value, state[2] + (value - state[1]), state[3]];
END
$$;

CREATE AGGREGATE counter_steps(double precision) (
    SFUNC = counter_step,
    STYPE = double precision[],
    PARALLEL = SAFE
);
COMMENT ON AGGREGATE counter_steps(double precision) IS
    'Steps of a cumulative counter, ordered by time: {last value, energy in kWh, falls}; a step that falls counts no energy';
