-- A made-up stream: history and latest, which both editions share.

CREATE TABLE charger_telemetry (
    charger_id     text COLLATE "C" NOT NULL,
    time           timestamptz      NOT NULL,
    kwh_dispensed  double precision NOT NULL,
    connector_temp double precision
);
SELECT create_hypertable('charger_telemetry', by_range('time', INTERVAL '1 day'), create_default_indexes => false);
CREATE UNIQUE INDEX charger_telemetry_id_time ON charger_telemetry (charger_id, time);

CREATE TABLE chargers_latest (
    charger_id     text COLLATE "C" PRIMARY KEY,
    time           timestamptz      NOT NULL,
    kwh_dispensed  double precision NOT NULL,
    connector_temp double precision,
    received_at    timestamptz      NOT NULL DEFAULT now()
) WITH (fillfactor = 20);
