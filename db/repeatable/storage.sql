-- The history tables and the aggregates, each with the hypertable that holds it. Cost: one look at
-- TimescaleDB's catalog.
CREATE OR REPLACE VIEW stored_table AS
SELECT hypertable_schema, hypertable_name, hypertable_name::text AS table_name
FROM timescaledb_information.hypertables
WHERE hypertable_schema = current_schema()
UNION ALL
SELECT materialization_hypertable_schema, materialization_hypertable_name, view_name
FROM timescaledb_information.continuous_aggregates
WHERE view_schema = current_schema();

-- In: what a chunk's pages take on disk, and what PostgreSQL's statistics say of them; a row's size in bytes,
-- about; and what the chunk took before it became columnstore (0: it isn't). Out: about how many rows it
-- holds: by its statistics where it has been analyzed, else by its size.
CREATE OR REPLACE FUNCTION rows_about(
    heap_bytes bigint, tuples double precision, pages integer, row_bytes integer, packed_bytes bigint
)
RETURNS bigint
LANGUAGE sql STABLE AS $$
    SELECT round(packed_bytes / row_bytes + CASE
        WHEN tuples > 0 AND pages > 0
            THEN heap_bytes / current_setting('block_size')::integer * tuples / pages
        ELSE heap_bytes / row_bytes
    END)::bigint
$$;

-- Every chunk of history and of the aggregates: its span, its size now, and that before columnstore. Its rows
-- are an estimate, at 28 bytes a row and 8 a column. Cost: one look at the size of each
-- chunk's files.
CREATE OR REPLACE VIEW stored_chunk AS
WITH stored AS (
    SELECT *, format('%I.%I', hypertable_schema, hypertable_name)::regclass AS hypertable FROM stored_table
), sized AS MATERIALIZED (
    -- Once a table, not once a chunk: each call looks at all chunks of its table.
    SELECT sizes.* FROM stored CROSS JOIN LATERAL chunks_detailed_size(hypertable) AS sizes
), packed AS MATERIALIZED (
    SELECT stats.* FROM stored CROSS JOIN LATERAL chunk_compression_stats(hypertable) AS stats
), chunk AS (
    SELECT
        table_name, chunk_name::text AS chunk, range_start, range_end, is_compressed AS compressed,
        sized.total_bytes, sized.index_bytes, reltuples, relpages, 28 + 8 * relnatts AS row_bytes,
        packed.before_compression_total_bytes AS packed_bytes,
        coalesce(packed.before_compression_table_bytes, 0) AS packed_heap_bytes,
        pg_relation_size(relation.oid) AS heap_bytes
    FROM stored
    JOIN timescaledb_information.chunks USING (hypertable_schema, hypertable_name)
    JOIN sized USING (chunk_schema, chunk_name)
    LEFT JOIN packed USING (chunk_schema, chunk_name)
    JOIN pg_class AS relation ON relation.oid = format('%I.%I', chunk_schema, chunk_name)::regclass
)
SELECT
    table_name, chunk, range_start, range_end, compressed, total_bytes AS bytes, index_bytes,
    -- What was added since it became columnstore stays as it came until it is compressed again.
    coalesce(packed_bytes + heap_bytes, total_bytes) AS bytes_uncompressed,
    rows_about(heap_bytes, reltuples, relpages, row_bytes, packed_heap_bytes) AS rows
FROM chunk;
