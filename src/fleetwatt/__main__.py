"""`python -m fleetwatt` is `fleetwatt`, wherever the script of that name lies."""

from fleetwatt.cli import main

main()
