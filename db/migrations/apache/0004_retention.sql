-- What `fleetwatt retention set` says here and `fleetwatt maintain` does with drop_chunks(): this edition has no policies.
CREATE TABLE fleetwatt_retention (
    table_name text     PRIMARY KEY,
    drop_after interval NOT NULL CHECK (drop_after > INTERVAL '0')
);
COMMENT ON TABLE fleetwatt_retention IS 'How long history is kept; a table without a row is kept for ever';
