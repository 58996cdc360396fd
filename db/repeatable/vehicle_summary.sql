-- One vehicle's window and, in `mappings`, what it drew from each meter that it was on; `closed` is that of
-- vehicle_spans(). In plpgsql with generic plans, so that nothing here is planned twice in a session; what
-- has to know the span is planned further in (per_stream/curve_sources.sql).
CREATE OR REPLACE FUNCTION vehicle_summary(
    device text, start timestamptz, stop timestamptz, closed boolean, otherwise_kw double precision
)
RETURNS TABLE (
    readings bigint, energy_kwh double precision, falls bigint, jumps bigint, ignored bigint,
    avg_battery_temp double precision,
    estimated boolean, dropped boolean, interval_seconds double precision, known boolean, mappings json[]
)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 1
SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
    -- Times count whole microseconds: the end's own one belongs to a closed window.
    until    CONSTANT timestamptz := stop + CASE WHEN closed THEN INTERVAL '1 microsecond'
        ELSE INTERVAL '0' END;
    asked    CONSTANT tstzrange := tstzrange(start, until);
    of_meters text[];
    spans    tstzrange[];
    metered  double precision[];
    told     record;
BEGIN
    SELECT array_agg(meter_id ORDER BY valid), array_agg(valid * asked ORDER BY valid)
    INTO of_meters, spans
    FROM vehicle_meter_mapping
    WHERE vehicle_id = device AND valid && asked;

    FOR told IN
        SELECT * FROM vehicle_spans(
            device, start, until, closed, ARRAY[asked] || array_remove(spans, asked),
            device_max_kw('vehicle', device, otherwise_kw)
        )
        ORDER BY number
    LOOP
        IF told.number = 1 THEN
            readings := told.readings; energy_kwh := told.energy_kwh;
            falls := told.falls; jumps := told.jumps; ignored := told.ignored;
            avg_battery_temp := quotient(told.sum_battery_temp, told.count_battery_temp);
            estimated := told.estimated; dropped := told.dropped;
        ELSE
            metered := metered || told.energy_kwh;
            estimated := estimated OR told.estimated;
        END IF;
    END LOOP;
    IF spans = ARRAY[asked] THEN
        metered := ARRAY[energy_kwh];
    END IF;
    interval_seconds := device_interval('vehicle', device);
    mappings := ARRAY(
        SELECT mapped_meter(
            device, of_meters[number], start, until, closed, spans[number], otherwise_kw, metered[number]
        )
        FROM generate_series(1, cardinality(spans)) AS number
        ORDER BY number
    );
    known := EXISTS (SELECT FROM vehicles_latest WHERE vehicle_id = device)
        OR EXISTS (SELECT FROM vehicle_meter_mapping WHERE vehicle_id = device)
        OR EXISTS (SELECT FROM devices WHERE stream = 'vehicle' AND id = device);
    RETURN NEXT;
END
$$;

-- What a vehicle drew from a meter in the part of a window that a mapping holds, and what the meter sent
-- meanwhile.
CREATE OR REPLACE FUNCTION mapped_meter(
    vehicle text, meter text, start timestamptz, stop timestamptz, closed boolean, span tstzrange,
    otherwise_kw double precision,
    dc_kwh double precision
)
RETURNS json
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
    told      record;
    shared    boolean;
    ac_kwh    double precision;
    uncertain boolean := false;
BEGIN
    SELECT * INTO told
    FROM meter_spans(meter, start, stop, closed, ARRAY[span], device_max_kw('meter', meter, otherwise_kw));
    shared := EXISTS (
        SELECT FROM vehicle_meter_mapping AS other
        WHERE other.meter_id = meter AND other.vehicle_id <> vehicle AND other.valid && span
    );
    ac_kwh := told.energy_kwh;
    IF shared AND told.since IS NOT NULL THEN
        SELECT sum(part.kwh), coalesce(bool_or(part.uncertain), false) INTO ac_kwh, uncertain
        FROM meter_shares(meter, ARRAY[told.since, told.until], otherwise_kw) AS part
        WHERE part.vehicle_id = vehicle;
    END IF;
    RETURN json_build_object(
        'meter_id', meter, 'ac_kwh', ac_kwh, 'dc_kwh', dc_kwh, 'readings', told.readings,
        'seconds', date_part('epoch', upper(span) - lower(span))
            - CASE WHEN closed AND upper(span) = stop THEN 1e-6 ELSE 0 END, 'interval_seconds',
            device_interval('meter', meter),
        'falls', told.falls, 'jumps', told.jumps, 'ignored', told.ignored, 'shared', shared, 'uncertain',
        uncertain,
        'estimated', told.estimated, 'dropped', told.dropped
    );
END
$$;
