"""The database that needs no server: TimescaleDB in a Node process, for trying and for tests.

It never fsyncs: a crash of the process loses nothing that was acknowledged, a power loss may.
"""
