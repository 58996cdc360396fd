-- From the Apache edition to Community, once for each stream: removes what the edition's own migrations made
-- and Community's make otherwise. History, latest and mappings stay as they are. `fleetwatt db upgrade` runs
-- it where the server's license has changed, forgets those migrations and all of repeatable/, and then
-- applies what Community has. fleetwatt_retention stays until repeatable/timescale/retention.sql has taken
-- over what it says.
DROP VIEW IF EXISTS ${stream}_known_hours;
DROP VIEW IF EXISTS ${stream}_materialized;
DROP VIEW IF EXISTS ${stream}_six_hourly;
DROP VIEW IF EXISTS $hourly;
-- Views of repeatable/apache, where a release has them, whose columns are of other types on Community.
DROP VIEW IF EXISTS policy, retention;
