"""Threads that decode ahead: in order, and never left waiting by an interrupt, whenever it comes."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from foveal.workers import Workers

ROOT = Path(__file__).resolve().parents[1]
PATIENCE_SECONDS = 120
# In a program of its own: what a runner of tests keeps of an exception is let go at any time, and an interrupt that
# is raised just then, in a destructor, is lost.
HANDED_OUT = """
import signal
from foveal.workers import Workers

drawn = []

def items():
    for n in range(4):
        if n == 1:
            signal.raise_signal(signal.SIGINT)
        drawn.append(n)
        yield n

signal.signal(signal.SIGINT, signal.default_int_handler)
before, raised = signal.getsignal(signal.SIGINT), False
try:
    with Workers(2) as pool:
        pool.map(str, items())
except KeyboardInterrupt:
    raised = True
assert raised
assert drawn == [0, 1, 2, 3]
assert signal.getsignal(signal.SIGINT) is before
"""
INTERRUPTED = """
import os, random, signal, threading
from foveal.workers import Workers

def work_until_stopped(timer):
    with Workers(2) as pool:
        timer.start()
        while True:
            list(pool.map(str, range(8)))

signal.signal(signal.SIGINT, signal.default_int_handler)
dice = random.Random(0)
for _ in range(60):
    timer = threading.Timer(dice.uniform(0, 0.004), os.kill, (os.getpid(), signal.SIGINT))
    try:
        work_until_stopped(timer)
    except KeyboardInterrupt:
        timer.join()
"""


@pytest.fixture(autouse=True)
def _interrupts() -> Iterator[None]:
    """Ctrl-C is what it is in a program of its own, whatever the runner of tests or a test before made of it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_what_is_made_comes_in_order() -> None:
    with Workers(3) as pool:
        assert list(pool.map(lambda n: n * n, range(50))) == [n * n for n in range(50)]


def test_what_a_thread_raises_is_raised_where_its_turn_is() -> None:
    with Workers(2) as pool:
        found = pool.map(lambda n: 1 / n, [1, 2, 0, 4])
        assert next(found) == 1
        assert next(found) == 0.5
        with pytest.raises(ZeroDivisionError):
            next(found)


def test_an_interrupt_is_raised_once_all_is_handed_out() -> None:
    """In a program of its own too: in a runner's process it ended that now and then, and its other half waited."""
    ended = subprocess.run([sys.executable, "-c", HANDED_OUT], cwd=ROOT, timeout=PATIENCE_SECONDS)
    assert ended.returncode == 0


def test_whenever_it_comes_the_threads_end() -> None:
    """A plain pool is now and then left with a lock that nobody holds any more."""
    ended = subprocess.run([sys.executable, "-c", INTERRUPTED], cwd=ROOT, timeout=PATIENCE_SECONDS)
    assert ended.returncode == 0


def test_elsewhere_than_in_the_main_thread_signals_are_left_alone() -> None:
    found: list[list[str]] = []

    def work() -> None:
        with Workers(2) as pool:
            found.append(list(pool.map(str, range(3))))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [["0", "1", "2"]]
