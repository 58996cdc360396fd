-- Replaces a view by what a query returns, or creates it. A view that is there already keeps its columns in
-- their order, and what `columns` has besides comes last: PostgreSQL replaces no other while views of others
-- are made of it.
CREATE OR REPLACE FUNCTION replace_view(name text, columns text[], query text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    existing CONSTANT regclass := to_regclass(quote_ident(name));
    in_order CONSTANT text := (
        SELECT string_agg(quote_ident(wanted), ', ' ORDER BY attnum, position)
        FROM unnest(columns) WITH ORDINALITY AS given (wanted, position)
        LEFT JOIN pg_attribute ON attrelid = existing AND attname = wanted
    );
BEGIN
    EXECUTE format('CREATE OR REPLACE VIEW %I AS SELECT %s FROM (%s) AS wanted', name, in_order, query);
END
$$;
