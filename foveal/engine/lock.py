"""One process at a time on a run: a lock that the system takes back when its holder dies, however it dies.

Knows files. The lock is on a file that stays where it is; to remove it would let two processes hold two files.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from foveal.errors import FovealError, RunError

NAME = "state.lock"


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Within, no other process can be so in the same folder.

    Raises RunError where another one is, FovealError where the folder cannot be written.
    """
    path = folder / NAME
    try:
        file = path.open("ab")
    except OSError as error:
        raise FovealError(
            f"{path}: cannot be written ({error.strerror or error}); make its folder writable, or choose another "
            f"with --out"
        ) from error
    with file:
        if not _acquired(file):
            raise RunError(f"{folder}: another process works on this run; wait for it to end, or end it")
        yield


def _acquired(file: BinaryIO) -> bool:
    """Whether the lock was free; it is held until the file is closed."""
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks, as some networks have: a run is not refused for that
        return True
    return True
