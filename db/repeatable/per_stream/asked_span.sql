-- A half-open span, taken from the whole hour on where it begins just past one of which raw was dropped: if the device sent nothing on the hour
-- itself, all that the aggregate has of that hour lies in the span.
CREATE OR REPLACE FUNCTION ${stream}_asked_span(device text, asked tstzrange) RETURNS tstzrange
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
    hour CONSTANT timestamptz := lower(asked) - INTERVAL '1 microsecond';
BEGIN
    -- One after the other, as the last look costs more than all else, and is rarely needed.
    IF hour = time_bucket(INTERVAL '1 hour', hour) AND hour < raw_dropped_before('$history') THEN
        IF EXISTS (
            SELECT FROM ${stream}_materialized AS h WHERE h.$id = device AND h.bucket = hour AND h.first_time > hour
        ) THEN
            RETURN tstzrange(hour, upper(asked));
        END IF;
    END IF;
    RETURN asked;
END
$$;
