"""What becomes of stored data: how long it is kept, how it is packed, and whether all is well."""
