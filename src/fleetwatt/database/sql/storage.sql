-- server --
-- Which database this is, and the memory that its pages share. Cost: none.
-- Rows: one.
SELECT
    extversion AS version,
    current_setting('timescaledb.license') AS edition,
    current_setting('server_version') AS postgresql,
    pg_size_bytes(current_setting('shared_buffers')) AS shared_buffers
FROM pg_extension
WHERE extname = 'timescaledb'

-- stored_tables --
-- What each history table and aggregate holds and costs. Growth is that of the chunks of the last seven days
-- that are over, by the length of their spans. Cost: one look at the size of each chunk's files.
-- Rows: many.
SELECT
    stored.table_name,
    dimension.time_interval AS chunk_interval,
    count(chunk) AS chunks,
    count(chunk) FILTER (WHERE compressed) AS compressed_chunks,
    coalesce(sum(rows), 0)::bigint AS rows,
    coalesce(sum(bytes), 0)::bigint AS bytes,
    coalesce(sum(bytes_uncompressed), 0)::bigint AS bytes_uncompressed,
    coalesce(sum(index_bytes), 0)::bigint AS index_bytes,
    sum(bytes) FILTER (WHERE recent)::double precision / sum(days) FILTER (WHERE recent) AS bytes_a_day,
    sum(rows) FILTER (WHERE recent)::double precision / sum(days) FILTER (WHERE recent) AS rows_a_day
FROM stored_table AS stored
JOIN timescaledb_information.dimensions AS dimension USING (hypertable_schema, hypertable_name)
LEFT JOIN (
    SELECT
        *, extract(epoch FROM range_end - range_start)::double precision / 86400 AS days,
        range_end <= now() AND range_end > now() - INTERVAL '7 days' AS recent
    FROM stored_chunk
) AS sized ON sized.table_name = stored.table_name
GROUP BY stored.table_name, dimension.time_interval
ORDER BY stored.table_name DESC

-- stored_chunks --
-- The chunks of one table, or of all, oldest first. Cost: as stored_tables.
-- Rows: many.
SELECT table_name, chunk, range_start, range_end, compressed, rows, bytes, bytes_uncompressed, index_bytes
FROM stored_chunk
WHERE %(table)s::text IS NULL OR table_name = %(table)s
ORDER BY table_name, range_start

-- policies --
-- What the database's policies do, and how it went. Cost: one look at the jobs' catalog and at each job's
-- last failure.
-- Rows: many.
SELECT
    table_name, kind, after, start_offset, end_offset, guarded, job_id, every, last_run, last_status,
    last_error, next_run
FROM policy
ORDER BY table_name DESC, kind

-- doomed_chunks --
-- What dropping the chunks of a table that are wholly older than an interval would take away. Cost: as
-- stored_tables.
-- Rows: one.
SELECT
    count(*) AS chunks, coalesce(sum(rows), 0)::bigint AS rows, coalesce(sum(bytes), 0)::bigint AS bytes,
    min(range_start) AS oldest, max(range_end) AS up_to
FROM stored_chunk
WHERE table_name = %(table)s AND range_end <= now() - %(older_than)s::interval

-- packed_chunks --
-- What compressing the chunks of a table that are wholly older than an interval would take in. Cost: as
-- stored_tables.
-- Rows: one.
SELECT count(*) AS chunks, coalesce(sum(rows), 0)::bigint AS rows, coalesce(sum(bytes), 0)::bigint AS bytes
FROM stored_chunk
WHERE table_name = %(table)s AND NOT compressed AND range_end <= now() - %(older_than)s::interval

-- set_retention --
-- Sets how long a table is kept (null: for ever) and how far back its aggregate's refresh reaches (null: as
-- it is), both or neither. Cost: a row or two of the jobs' catalog.
-- Rows: one. Run once: it changes the jobs' catalog.
SELECT set_retention(%(table)s, %(keep)s::interval, %(refresh_from)s::interval)

-- set_compression --
-- Sets after how long a table's chunks become columnstore; null: never. Cost: a row of the jobs' catalog.
-- Rows: one. Run once: it changes the jobs' catalog.
SELECT set_compression(%(table)s, %(after)s::interval)

-- set_chunk_interval --
-- Sets how much time a chunk of a table holds, from the next one on. Cost: a row of TimescaleDB's catalog.
-- Rows: one. Run once: it changes TimescaleDB's catalog.
SELECT set_chunk_time_interval(%(table)s::regclass, %(interval)s::interval)
