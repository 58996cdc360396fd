"""Registers out of increments: the sum of what each line of a file adds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from fleetwatt.streams import TIMESTAMP
from fleetwatt.transfer.dialect import BadLine

if TYPE_CHECKING:
    from fleetwatt.streams import Stream

    # In: a device and a time. Out: the register before it, in kWh; None: none is known.
    Before = Callable[[Stream, str, datetime], float | None]

# By device: its register in kWh, and the time of its newest line.
Sums = dict[str, tuple[str, datetime | None]]


class Registers:
    """The registers of a file's devices.

    The first line of a device adds to the register that is stored of it before that line, or else
    to 0. So a file that follows another one continues its registers, and a file that is imported
    again makes the same ones.

    Attributes:
        sums: The register of each device, and the time of its newest line; None: no line yet
            had one. A checkpoint keeps them.
    """

    def __init__(self, before: Before) -> None:
        self.sums: Sums = {}
        self._before = before

    def add(self, stream: Stream, device: str, time: datetime | None, increment: str) -> str:
        """Add to a device's register, and return it in kWh.

        A line that is rejected for its time adds, too: its energy is in the next line's register.

        Raises:
            BadLine: The increment is negative, or the time is not after that of the line before.
        """
        added = Decimal(increment)
        if added < 0:
            raise BadLine("An increment can't be negative.", stream.counter.name)
        key = f"{stream.name}:{device}"
        register, last = self.sums.get(key, ("0", None))
        total = Decimal(register)
        if time is not None:
            if last is None:
                total += Decimal(repr(self._before(stream, device, time) or 0.0))
            elif time <= last:
                raise BadLine(
                    "Not after the device's line before, to whose register it would add.",
                    TIMESTAMP.name,
                )
        total += added
        self.sums[key] = (str(total), time or last)
        return str(total)
