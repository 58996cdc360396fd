-- Three roles with what each needs and no more, in the schema and database of this session.
--   fleetwatt_owner      owns all and changes it: `fleetwatt db upgrade`, retention, repairs
--   fleetwatt_app        the service: reads all, stores readings, moves latest and mappings on,
--                        keeps the register of devices and sites; no DDL, deletes nothing but mappings and
--                        entries
--   fleetwatt_dashboard  reads the views, the hourly aggregates, the mappings, devices and sites, and
--                        asks dashboard_energy() and dashboard_sessions()
--
-- Run it by `fleetwatt db roles` or `psql --single-transaction -f`, as a superuser or a role that may create
-- roles. It may run before the first upgrade or at any time later, as often as you like. `fleetwatt db
-- upgrade` runs it again where the roles exist. It takes over every table, view and function in the schema
-- but those of extensions: the schema has to be fleetwatt's alone.

-- Makes the roles that are missing.
DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['fleetwatt_owner', 'fleetwatt_app', 'fleetwatt_dashboard'] LOOP
        CONTINUE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = role);
        -- Without a password there is no login, but TimescaleDB runs jobs only for an owner that may.
        EXECUTE format('CREATE ROLE %I LOGIN', role);
        EXECUTE format('COMMENT ON ROLE %I IS %L', role, 'of fleetwatt: see db/roles.sql');
        IF role = 'fleetwatt_dashboard' THEN
            -- Defaults, which a DBA may change; the rights below are what counts.
            ALTER ROLE fleetwatt_dashboard SET default_transaction_read_only = on;
            ALTER ROLE fleetwatt_dashboard SET statement_timeout = '60s';
        END IF;
    END LOOP;
    -- Only a member may hand something over to a role.
    IF NOT pg_has_role('fleetwatt_owner', 'MEMBER') THEN
        EXECUTE format('GRANT fleetwatt_owner TO %I', current_user);
    END IF;
END
$$;

-- Ends a transaction that a dashboard has forgotten: it keeps raw from being dropped. A default, too; a role
-- that may not set it leaves it as it is.
DO $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_db_role_setting
        WHERE setrole = 'fleetwatt_dashboard'::regrole
          AND array_to_string(setconfig, ' ') ~ 'idle_in_transaction_session_timeout='
    ) THEN
        ALTER ROLE fleetwatt_dashboard SET idle_in_transaction_session_timeout = '60s';
    END IF;
EXCEPTION
    WHEN insufficient_privilege THEN NULL;
END
$$;

-- Keeps jobs to the owner: TimescaleDB lets every role add some, and many keep its policies from being run.
-- Only the extension's owner may say so.
DO $$
DECLARE
    adding regprocedure;
BEGIN
    FOR adding IN
        SELECT pg_proc.oid FROM pg_proc
        JOIN pg_depend ON classid = 'pg_proc'::regclass AND objid = pg_proc.oid AND deptype = 'e'
        JOIN pg_extension ON pg_extension.oid = refobjid AND extname = 'timescaledb'
        WHERE proname = 'add_job' AND pg_has_role(proowner, 'USAGE')
    LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', adding);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO fleetwatt_owner', adding);
    END LOOP;
END
$$;

-- Lets the roles in. Nothing is granted where it is held already: later runs are the owner's, who may not
-- grant these.
DO $$
DECLARE
    place text := current_schema();
BEGIN
    -- PostgreSQL lets every role create tables in `public` up to version 14.
    IF has_schema_privilege('public', place, 'CREATE') THEN
        EXECUTE format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC', place);
    END IF;
    IF NOT has_schema_privilege('fleetwatt_owner', place, 'CREATE') THEN
        EXECUTE format('GRANT CREATE, USAGE ON SCHEMA %I TO fleetwatt_owner', place);
    END IF;
    IF NOT has_schema_privilege('fleetwatt_app', place, 'USAGE')
        OR NOT has_schema_privilege('fleetwatt_dashboard', place, 'USAGE')
    THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO fleetwatt_app, fleetwatt_dashboard', place);
    END IF;
    -- For the extensions timescaledb and btree_gist, which are trusted.
    IF NOT has_database_privilege('fleetwatt_owner', current_database(), 'CREATE') THEN
        EXECUTE format('GRANT CREATE ON DATABASE %I TO fleetwatt_owner', current_database());
    END IF;
END
$$;

-- Hands what there is over to the owner. TimescaleDB hands over chunks, what is materialized and the policies
-- with their table.
DO $$
DECLARE
    command text;
BEGIN
    FOR command IN
        SELECT format('ALTER %s %s OWNER TO fleetwatt_owner', kind, name)
        FROM (
            SELECT
                CASE
                    WHEN EXISTS (
                        SELECT FROM timescaledb_information.continuous_aggregates
                        WHERE view_schema = current_schema() AND view_name = relname
                    ) THEN 'MATERIALIZED VIEW'
                    WHEN relkind = 'v' THEN 'VIEW'
                    ELSE 'TABLE'
                END AS kind,
                oid::regclass::text AS name, relowner AS owner, oid, 'pg_class'::regclass AS catalog
            FROM pg_class
            WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p', 'v', 'm')
            UNION ALL
            SELECT 'ROUTINE', oid::regprocedure::text, proowner, oid, 'pg_proc'::regclass
            FROM pg_proc
            WHERE pronamespace = current_schema()::regnamespace
        ) AS found
        WHERE owner <> 'fleetwatt_owner'::regrole
          AND NOT EXISTS (
              SELECT FROM pg_depend WHERE classid = catalog AND objid = found.oid AND deptype = 'e'
          )
    LOOP
        EXECUTE command;
    END LOOP;
EXCEPTION
    -- Before the first upgrade there is no TimescaleDB, and nothing to take over.
    WHEN undefined_table THEN NULL;
END
$$;

-- Hands over the job that drops raw, which belongs to no table: TimescaleDB changes no job's owner, so the
-- owner makes it again with all that was set. One that this session may not delete stays, and
-- `fleetwatt doctor` names it.
DO $$
DECLARE
    guard_of CONSTANT text := quote_ident(current_schema()) || '.retention_guard';
    found record;
    made integer;
BEGIN
    IF to_regclass('timescaledb_information.jobs') IS NULL THEN
        RETURN;
    END IF;
    FOR found IN
        SELECT * FROM timescaledb_information.jobs
        WHERE proc_schema = current_schema() AND proc_name = 'retention_guard'
          AND owner::text <> 'fleetwatt_owner' AND pg_has_role(owner::oid, 'USAGE')
    LOOP
        PERFORM delete_job(found.job_id);
        SET LOCAL ROLE fleetwatt_owner;
        made := add_job(
            guard_of::regproc, found.schedule_interval, config => found.config,
            scheduled => found.scheduled, fixed_schedule => found.fixed_schedule
        );
        PERFORM alter_job(
            made, max_runtime => found.max_runtime, max_retries => found.max_retries,
            retry_period => found.retry_period, next_start => NULLIF(found.next_start, '-infinity')
        );
        RESET ROLE;
    END LOOP;
END
$$;

-- Grants what the roles need on each stream's tables, by the names that these have, on views and on the
-- functions that correct history: the service does so by these alone, which keep what was there.
DO $$
DECLARE
    command text;
BEGIN
    FOR command IN
        SELECT format('GRANT %s ON %s TO %s', rights, oid::regclass, role)
        FROM pg_class
        JOIN (VALUES
            ('r', '%\_telemetry', 'INSERT', 'fleetwatt_app'),
            ('r', '%\_latest', 'INSERT, UPDATE', 'fleetwatt_app'),
            ('v', '%', 'SELECT', 'fleetwatt_dashboard')
        ) AS wanted (kind, pattern, rights, role) ON relkind = kind::"char" AND relname LIKE pattern
        WHERE relnamespace = current_schema()::regnamespace AND relowner = 'fleetwatt_owner'::regrole
        UNION ALL
        SELECT format('GRANT EXECUTE ON FUNCTION %s TO fleetwatt_app', oid::regprocedure)
        FROM pg_proc
        WHERE pronamespace = current_schema()::regnamespace AND proowner = 'fleetwatt_owner'::regrole
          AND prosecdef
        UNION ALL
        SELECT format('GRANT EXECUTE ON FUNCTION %s TO fleetwatt_dashboard', oid::regprocedure)
        FROM pg_proc
        WHERE pronamespace = current_schema()::regnamespace AND proowner = 'fleetwatt_owner'::regrole
          AND prosecdef AND proname LIKE 'dashboard\_%'
    LOOP
        EXECUTE command;
    END LOOP;
END
$$;

-- Grants what they need on the tables that are there once. Before the first upgrade there are none; roles may
-- be renewed before the upgrade that makes some.
DO $$
BEGIN
    IF to_regclass('fleetwatt_schema') IS NULL THEN
        RETURN;
    END IF;
    EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA %I TO fleetwatt_app', current_schema());
    -- One that has not begun is removed where a vehicle is unplugged.
    GRANT INSERT, UPDATE, DELETE ON vehicle_meter_mapping TO fleetwatt_app;
    GRANT SELECT ON vehicle_meter_mapping TO fleetwatt_dashboard;
    IF to_regclass('devices') IS NOT NULL THEN
        GRANT INSERT, UPDATE, DELETE ON devices, sites TO fleetwatt_app;
        GRANT SELECT ON devices, sites TO fleetwatt_dashboard;
    END IF;
END
$$;
