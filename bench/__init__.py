"""What the page on performance quotes: `make bench` and `make bench-analytics` measure it again."""
