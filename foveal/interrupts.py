"""Ctrl-C at a terminal: while a run learns, the first one asks whether to finish with what is learnt so far.

Knows a session, signals and whom to ask. Where nobody can answer, and at any other time, an interrupt stops the work
at once.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from foveal import console

if TYPE_CHECKING:
    from foveal.session import Session
    from foveal.types import Step

_QUESTION = "Interrupted. [f]inish with what is learnt so far and write the report, or [s]ave and stop? "


class Interrupts:
    """A watcher of steps that asks between two of them; a second Ctrl-C, or the end of input, saves and stops."""

    def __init__(self, session: Session, watch: console.Watch) -> None:
        self.session, self.watch = session, watch
        self._came = self._pending = False

    def __call__(self, step: Step) -> None:
        self.watch(step)
        if self._pending:
            self._pending = False
            self._ask()

    @contextmanager
    def caught(self) -> Iterator[Interrupts]:
        """Within, Ctrl-C asks, if there is a terminal on which it can."""
        if not console.can_ask():
            yield self
            return
        before = signal.signal(signal.SIGINT, self._interrupted)
        try:
            yield self
        finally:
            signal.signal(signal.SIGINT, before)

    def _interrupted(self, *_: object) -> None:
        if self._came or not self.session.is_learning:
            raise KeyboardInterrupt
        self._came = self._pending = True

    def _ask(self) -> None:
        with self.watch.paused():
            answer = console.ask(_QUESTION, "fs")
            if answer != "f":
                raise KeyboardInterrupt
            console.tell("finishing with what is learnt so far")
        self.session.finish_early()
