-- A key is bound to devices of a kind, as meter:M-1 or vehicle:V-1. Keys that were made before name an id alone,
-- which stands for a meter and a vehicle: they keep what they had.
ALTER TABLE api_keys ADD COLUMN names_kinds boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN api_keys.names_kinds IS 'Whether devices are written as meter:ID and vehicle:ID; false: as ID, of either kind';
COMMENT ON COLUMN api_keys.devices IS 'The devices that it may write for, as names_kinds says; NULL: all';
