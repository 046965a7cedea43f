"""Threads that decode ahead, from which an interrupt can be raised at any time.

Knows threads and signals. Where a signal handler raises between two instructions of Python's own pools, such as after
a lock is taken and before anything would release it, the threads wait for that lock for ever, and so does whoever
joins them. So while the main thread is inside such code, signals only note that they came.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Self, TypeVar

_One = TypeVar("_One")
_Other = TypeVar("_Other")
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Workers:
    """A pool of threads, to be used as a context; what has not begun when the context ends is dropped."""

    def __init__(self, threads: int | None) -> None:
        self._pool = ThreadPoolExecutor(threads)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with _undisturbed():
            self._pool.shutdown(cancel_futures=True)

    def map(self, function: Callable[[_One], _Other], items: Iterable[_One]) -> Iterator[_Other]:
        """What the function makes of each item, in order; all of it begins at once."""
        with _undisturbed():
            found = self._pool.map(function, items)
        return _calmly(found)


def _calmly(found: Iterator[_Other]) -> Iterator[_Other]:
    while True:
        with _undisturbed():
            try:
                one = next(found)
            except StopIteration:
                return
        yield one


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Handlers of signals that come meanwhile are called at the end."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread runs handlers
        return
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: came.append(number))
        for number in _SIGNALS
        if callable(signal.getsignal(number))
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in dict.fromkeys(came):
            before[signal.Signals(number)](number, None)  # type: ignore[operator, misc]
