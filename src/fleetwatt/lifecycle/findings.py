"""What `fleetwatt doctor` says of one thing that it looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "unknown", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """What was looked at, how it is, and what to do where it isn't well or can't be seen."""

    check: str
    level: Level
    says: str
    advice: str = ""
