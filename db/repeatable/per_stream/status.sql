-- What the status routes answer: the newest reading of each device, its age and, where its stream draws from
-- another, what it is mapped to now.
SELECT replace_view('$status', '{$status_columns}', $$
    SELECT latest.*, extract(epoch FROM now() - latest.time)::double precision AS age_seconds $mapped_column
    FROM $latest AS latest $mapping_now
$$);

-- One device's status. In plpgsql, which plans once a session: to plan it takes longer than to look it up.
CREATE OR REPLACE FUNCTION ${stream}_status_of(device text) RETURNS SETOF $status
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 1 AS $$
BEGIN
    RETURN QUERY SELECT * FROM $status WHERE $id = device;
END
$$;
