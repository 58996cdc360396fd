"""A file that an export makes."""

from __future__ import annotations

from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class FileIsThere(Exception):
    """A file of that name is there already, and the caller does not replace it."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is there already: --force replaces it")


@contextmanager
def new_file(path: Path, *, force: bool) -> Iterator[IO[bytes]]:
    """Write a file that takes its name when it is whole, and not before.

    A symbolic link of that name is replaced with force; what it leads to stays as it is.

    Raises:
        FileIsThere: There is one, or a link, and it is not to be replaced.
    """
    _check_free(path, force=force)
    part = path.with_name(path.name + ".part")
    with part.open("xb") as file:
        try:
            yield file
            file.flush()
            # Somebody may have made it meanwhile.
            _check_free(path, force=force)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def _check_free(path: Path, *, force: bool) -> None:
    if not force and (path.exists() or path.is_symlink()):
        raise FileIsThere(path)
