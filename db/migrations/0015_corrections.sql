-- Corrections of stored readings: who corrected what, when and why, and what was there before.

CREATE TABLE reading_corrections (
    id        bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stream    text        NOT NULL,
    device    text        COLLATE "C" NOT NULL,
    action    text        NOT NULL CHECK (action IN ('replace', 'remove')),
    span      tstzrange   NOT NULL CHECK (NOT isempty(span)),
    reason    text        NOT NULL CHECK (reason <> ''),
    author    text        NOT NULL,
    made_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    undone_at timestamptz,
    undone_by text,
    CONSTRAINT undone_by_somebody CHECK ((undone_at IS NULL) = (undone_by IS NULL))
);
CREATE INDEX reading_corrections_device ON reading_corrections (stream, device, id);
COMMENT ON TABLE reading_corrections IS
    'Who replaced or removed readings of a device, when and why; history holds the corrected state';
COMMENT ON COLUMN reading_corrections.span IS 'Times of the readings, [from, to)';
COMMENT ON COLUMN reading_corrections.author IS 'Prefix of an API key, or user of the command line';
COMMENT ON COLUMN reading_corrections.undone_at IS 'When it was taken back; NULL: it holds';

CREATE TABLE corrected_readings (
    correction bigint      NOT NULL REFERENCES reading_corrections ON DELETE CASCADE,
    time       timestamptz NOT NULL,
    before     jsonb       NOT NULL,
    after      jsonb,
    PRIMARY KEY (correction, time)
);
COMMENT ON TABLE corrected_readings IS 'The readings of each correction, before and after; after is NULL: removed';

CREATE TABLE removed_readings (
    stream     text        NOT NULL,
    time       timestamptz NOT NULL,
    device     text        COLLATE "C" NOT NULL,
    correction bigint      NOT NULL REFERENCES reading_corrections ON DELETE CASCADE,
    PRIMARY KEY (stream, time, device)
);
CREATE INDEX removed_readings_correction ON removed_readings (correction);
COMMENT ON TABLE removed_readings IS 'Readings that a correction keeps out: they are rejected when they come again';
