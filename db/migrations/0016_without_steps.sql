-- What the arithmetic of steps was made of: db/repeatable has the register curve instead. The aggregate
-- counter_steps() stays: a database that comes from the Apache edition goes through Community's first
-- migrations, which ask for it. Only what is in this schema goes: IF EXISTS alone would look in others, too.
DO $$
DECLARE
    made_of_steps regprocedure;
BEGIN
    FOR made_of_steps IN
        SELECT oid FROM pg_proc
        WHERE pronamespace = current_schema()::regnamespace AND proname IN (
            'vehicle_window', 'window_mappings', 'moved_hours', 'fleet_performance', 'fleet_hours',
            'fleet_exact_until', 'fresh_until', 'six_from', 'six_until', 'whole_hours', 'materialized_from',
            'meter_energy', 'meter_energy_recent', 'meter_energy_older', 'meter_energy_of', 'meter_asked_span',
            'meter_steps', 'meter_hours', 'meter_totals', 'meter_totals_by_hour',
            'vehicle_energy', 'vehicle_energy_recent', 'vehicle_energy_older', 'vehicle_energy_of',
            'vehicle_asked_span', 'vehicle_steps', 'vehicle_hours', 'vehicle_totals', 'vehicle_totals_by_hour'
        )
        -- Those first that are made of others.
        ORDER BY proname LIKE 'fresh%' OR proname LIKE 'six%' DESC
    LOOP
        EXECUTE format('DROP FUNCTION %s', made_of_steps);
    END LOOP;
END
$$;
