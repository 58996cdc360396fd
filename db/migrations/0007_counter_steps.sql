-- counter_steps() gathers an hour's values first and goes over them once, where it called a function for each of them: a refresh
-- costs much less, and says the same. What is materialized stays as it is.

CREATE FUNCTION counted_steps(readings double precision[]) RETURNS double precision[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    value  double precision;
    last   double precision;
    rises  double precision := readings[1];  -- from where on it has only risen
    energy double precision := 0;
    falls  double precision := 0;
BEGIN
    FOREACH value IN ARRAY readings LOOP
        IF value < last THEN
            energy := energy + (last - rises);
            falls := falls + 1;
            rises := value;
        END IF;
        last := value;
    END LOOP;
    RETURN ARRAY[last, energy + (last - rises), falls];
END
$$;

CREATE OR REPLACE AGGREGATE counter_steps(double precision) (
    SFUNC = array_append,
    STYPE = double precision[],
    FINALFUNC = counted_steps,
    PARALLEL = SAFE
);
DROP FUNCTION counter_step(double precision[], double precision);
