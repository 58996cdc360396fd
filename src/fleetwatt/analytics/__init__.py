"""What the readings mean: energy, buckets of time, and whether what is derived equals history."""
