-- One device's status. In plpgsql, which plans once a session: to plan it takes longer than to look it up.
CREATE OR REPLACE FUNCTION ${stream}_status_of(device text) RETURNS SETOF $status
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 1 AS $$
BEGIN
    RETURN QUERY SELECT * FROM $status WHERE $id = device;
END
$$;
