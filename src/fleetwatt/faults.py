"""What is wrong with readings and arguments, as answers list it."""

from __future__ import annotations

from dataclasses import dataclass, field

MAX_FAULTS = 100  # that an answer lists
MAX_NAME = 64  # characters of a name that a client made up, as it is echoed


@dataclass(frozen=True)
class Fault:
    """What is wrong; `index` is None for an argument, `field` where all of it is wrong."""

    index: int | None
    field: str | None
    message: str


@dataclass
class Faults:
    """The first of all faults are listed, the others counted.

    Attributes:
        limit: How many are listed at most.
        listed: The first ones.
        omitted: How many more there are.
    """

    limit: int = field(default=MAX_FAULTS, compare=False)
    listed: list[Fault] = field(default_factory=list)
    omitted: int = 0

    def add(self, fault: Fault) -> None:
        """List a fault, or count it."""
        if len(self.listed) < self.limit:
            self.listed.append(fault)
        else:
            self.omitted += 1


def echoed(name: str) -> str:
    """Return a name that a client made up, cut where it is long."""
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 1]}…"
