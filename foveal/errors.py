"""What foveal raises when a person has to do something about it.

    FovealError              exit code 1: it failed
    ├── UsageError           exit code 2: the command or call asks for something that does not exist
    ├── DataError            exit code 3: the data are refused
    ├── RunError             exit code 1: a run folder is damaged, altered or from other versions
    └── ExportError          exit code 1: the exported file does not agree with the run

Every message says what was expected, what was found, what to do, and which file (and line) it is about.
"""

from __future__ import annotations


class FovealError(Exception):
    """Something that a person can act on; the message is for them, without a traceback."""

    exit_code = 1


class UsageError(FovealError):
    """The command or call asks for something that does not exist."""

    exit_code = 2


class DataError(FovealError):
    """The data cannot be used as they are."""

    exit_code = 3


class RunError(FovealError):
    """A run folder cannot be read or continued."""


class ExportError(FovealError):
    """An exported file does not agree with the run that it came from; nothing was written."""
