"""Readings that come by messages: MQTT and NATS, through JetStream, into the database."""
