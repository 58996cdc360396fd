"""marshmallow schemas, a module an area: of readings, derived from the streams; of all answers."""
