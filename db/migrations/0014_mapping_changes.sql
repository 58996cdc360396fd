-- What was changed in the history of mappings. Changes that were made before this migration are not known.

CREATE TABLE mapping_changes (
    id           bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    changed_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    author       text        NOT NULL,
    vehicle_id   text        COLLATE "C" NOT NULL,
    meter_id     text        COLLATE "C" NOT NULL,
    valid_before tstzrange,
    valid_after  tstzrange,
    CONSTRAINT before_or_after CHECK (num_nonnulls(valid_before, valid_after) > 0)
);
CREATE INDEX mapping_changes_vehicle ON mapping_changes (vehicle_id, id);
CREATE INDEX mapping_changes_meter ON mapping_changes (meter_id, id);
COMMENT ON TABLE mapping_changes IS
    'Every change of vehicle_meter_mapping, which itself holds the amended history';
COMMENT ON COLUMN mapping_changes.author IS
    'Prefix of an API key, user of the command line, or role of the database for a change by SQL';
COMMENT ON COLUMN mapping_changes.valid_before IS 'When the mapping was valid before; NULL: it was not there';
COMMENT ON COLUMN mapping_changes.valid_after IS 'When it is valid since; NULL: it was removed';
