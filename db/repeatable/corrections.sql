-- What the corrections of all streams share. The functions that change readings are in
-- per_stream/corrections.sql.

-- Lets corrections take turns, until their transactions end.
CREATE OR REPLACE FUNCTION lock_corrections() RETURNS void
LANGUAGE sql
RETURN pg_advisory_xact_lock(hashtextextended('fleetwatt corrections', 0));

-- In: the readings of a correction's device and times. Out: the newest correction of any of them that holds;
-- NULL: none does.
CREATE OR REPLACE FUNCTION newest_correction(of_stream text, of_device text, of_span tstzrange) RETURNS bigint
LANGUAGE sql STABLE
RETURN (
    SELECT max(id) FROM reading_corrections
    WHERE stream = of_stream AND device = of_device AND span && of_span AND undone_at IS NULL
);
