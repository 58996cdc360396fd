"""Which release this is, as the installed package has it."""

from __future__ import annotations

from importlib.metadata import version

VERSION = version("fleetwatt")
