-- What people tell of devices and sites. No device needs an entry, and one may have an entry before its first reading.

CREATE TABLE sites (
    id        text COLLATE "C" PRIMARY KEY,
    name      text CHECK (length(name) BETWEEN 1 AND 200),
    time_zone text NOT NULL DEFAULT 'UTC'
);
COMMENT ON TABLE sites IS 'Depots and car parks';
COMMENT ON COLUMN sites.id IS 'Name in the API, as a device has one';
COMMENT ON COLUMN sites.name IS 'For people; NULL: none';
COMMENT ON COLUMN sites.time_zone IS 'IANA name of the time zone that its local days are of';

-- No history refers to an entry, and an entry to no history: either may come first, or alone.
CREATE TABLE devices (
    stream           text COLLATE "C" NOT NULL,
    id               text COLLATE "C" NOT NULL,
    name             text CHECK (length(name) BETWEEN 1 AND 200),
    site             text COLLATE "C" REFERENCES sites (id),
    interval_seconds double precision CHECK (interval_seconds BETWEEN 0.001 AND 2678400),
    max_kw           double precision CHECK (max_kw BETWEEN 1e-6 AND 1e12),
    PRIMARY KEY (stream, id)
);
CREATE INDEX devices_site ON devices (site, stream, id) WHERE site IS NOT NULL;
COMMENT ON TABLE devices IS 'The device register: what people tell of a device';
COMMENT ON COLUMN devices.stream IS 'The stream of its readings: meter or vehicle';
COMMENT ON COLUMN devices.id IS 'The id in its readings';
COMMENT ON COLUMN devices.name IS 'For people; NULL: none';
COMMENT ON COLUMN devices.site IS 'Where it belongs; NULL: to no site';
COMMENT ON COLUMN devices.interval_seconds IS 'Time between two of its readings, s; NULL: 60, the default';
COMMENT ON COLUMN devices.max_kw IS 'The highest power that it can have, kW; NULL: the default of the service, FLEETWATT_MAX_KW';
