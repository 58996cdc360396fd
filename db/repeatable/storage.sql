-- The history tables and the aggregates, each with the hypertable that holds it. Cost: one look at TimescaleDB's catalog.
CREATE OR REPLACE VIEW stored_table AS
SELECT hypertable_schema, hypertable_name, hypertable_name::text AS table_name
FROM timescaledb_information.hypertables
WHERE hypertable_schema = current_schema()
UNION ALL
SELECT materialization_hypertable_schema, materialization_hypertable_name, view_name
FROM timescaledb_information.continuous_aggregates
WHERE view_schema = current_schema();

-- Every chunk of history and of the aggregates: its span, its size now and, where it is columnstore, before, and about how many rows
-- it holds: by its statistics where it has been analyzed, else by its size at 28 bytes a row and 8 a column. Cost: one look at the
-- size of each chunk's files.
CREATE OR REPLACE VIEW stored_chunk AS
WITH sized AS MATERIALIZED (
    -- Once a table, not once a chunk: each call looks at all chunks of its table.
    SELECT sizes.*
    FROM stored_table CROSS JOIN LATERAL chunks_detailed_size(format('%I.%I', hypertable_schema, hypertable_name)::regclass) AS sizes
), packed AS MATERIALIZED (
    SELECT stats.*
    FROM stored_table CROSS JOIN LATERAL chunk_compression_stats(format('%I.%I', hypertable_schema, hypertable_name)::regclass) AS stats
), chunk AS (
    SELECT
        table_name, chunks.chunk_name::text AS chunk, range_start, range_end, is_compressed AS compressed,
        sizes.total_bytes AS bytes, sizes.index_bytes, coalesce(packed.before_compression_table_bytes, 0) AS packed_bytes,
        -- What was added since it became columnstore stays as it came until it is compressed again.
        CASE WHEN packed.before_compression_total_bytes IS NULL THEN sizes.total_bytes
            ELSE packed.before_compression_total_bytes + pg_relation_size(relation.oid) END AS bytes_uncompressed,
        pg_relation_size(relation.oid) AS heap_bytes, relation.reltuples, relation.relpages, 28 + 8 * relation.relnatts AS row_bytes
    FROM stored_table
    JOIN timescaledb_information.chunks USING (hypertable_schema, hypertable_name)
    JOIN sized AS sizes USING (chunk_schema, chunk_name)
    LEFT JOIN packed USING (chunk_schema, chunk_name)
    JOIN pg_class AS relation ON relation.oid = format('%I.%I', chunk_schema, chunk_name)::regclass
)
SELECT
    table_name, chunk, range_start, range_end, compressed, bytes, index_bytes, bytes_uncompressed,
    round(packed_bytes / row_bytes + CASE
        WHEN reltuples > 0 AND relpages > 0 THEN heap_bytes / current_setting('block_size')::integer * reltuples / relpages
        ELSE heap_bytes / row_bytes
    END)::bigint AS rows
FROM chunk;
