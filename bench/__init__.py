"""What docs/performance.md quotes: `make bench` and `make bench-analytics` measure it again."""
