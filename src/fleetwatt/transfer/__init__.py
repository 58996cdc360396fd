"""Import and export of readings, and the formats of their files."""
