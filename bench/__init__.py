"""What docs/performance.md quotes: `make bench` measures it again."""
