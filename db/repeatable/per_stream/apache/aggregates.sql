-- Stands where Community has what its aggregate has materialized; here that is nothing.
CREATE OR REPLACE VIEW ${stream}_materialized AS SELECT * FROM $hourly WHERE false;

-- The hours that are known without raw: none.
CREATE OR REPLACE VIEW ${stream}_known_hours AS SELECT * FROM ${stream}_materialized;
