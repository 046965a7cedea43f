"""How long one call takes, for every program in the same way."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

_ROUNDS, _UNMEASURED = 60, 5


def milliseconds(run: Callable[[], object]) -> float:
    """The median over 60 calls, after 5."""
    taken = []
    for _ in range(_UNMEASURED + _ROUNDS):
        began = time.perf_counter()
        run()
        taken.append(1000 * (time.perf_counter() - began))
    return statistics.median(taken[_UNMEASURED:])
