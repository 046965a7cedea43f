"""Ctrl-C as a person types it, at a pseudo-terminal: asked first, it finishes with a report or saves and stops."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from foveal import bundle
from foveal.engine import checkpoint
from tests.e2e.test_fine_tune import MEASURED, PLAN, begun, table

__all__ = ["table"]  # the fixture

pty = pytest.importorskip("pty")
CTRL_C, CTRL_D = b"\x03", b"\x04"
PATIENCE_SECONDS = 120
# The first terminal that the leader of a session opens becomes its own, and Ctrl-C on it becomes SIGINT.
LEADER = "import os; os.open(os.ttyname(0), os.O_RDWR)\nfrom foveal.cli import main; main()"


class Terminal:
    """`foveal resume` with a terminal of its own; what it shows is read as it comes."""

    def __init__(self, run: Path) -> None:
        self.hand, terminal = pty.openpty()
        command = [sys.executable, "-c", LEADER, "resume", str(run), "--json"]
        self.working = subprocess.Popen(
            command, stdin=terminal, stderr=terminal, stdout=subprocess.PIPE, start_new_session=True
        )
        os.close(terminal)
        self.shown = ""

    def until(self, text: str) -> None:
        """Read until `text` is shown. Raises AssertionError where it is not, or the program ends before."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while text not in self.shown:
            assert time.monotonic() < deadline, self.shown
            assert self._read(), self.shown

    def type(self, keys: bytes) -> None:
        os.write(self.hand, keys)

    def end(self) -> tuple[int, str]:
        """Exit code and stdout, once it ended."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self._read():
            assert time.monotonic() < deadline, self.shown
        code = self.working.wait(PATIENCE_SECONDS)
        assert self.working.stdout is not None
        with self.working.stdout as stdout:
            return code, stdout.read().decode()

    def close(self) -> None:
        self.working.kill()
        self.working.wait()
        os.close(self.hand)

    def _read(self) -> bool:
        if not select.select([self.hand], [], [], PATIENCE_SECONDS)[0]:
            return False
        try:
            data = os.read(self.hand, 4096)
        except OSError:  # Linux says so where the program has closed the terminal
            return False
        self.shown += data.decode(errors="replace")
        return bool(data)


@pytest.fixture
def endless(table: Path, tmp_path: Path) -> Path:
    """A run, begun and not worked on, that would train for hours."""
    session = begun(table, tmp_path / "run", replace(PLAN, epochs=100_000))
    checkpoint.commit(session.folder, session.state.decide(**MEASURED))
    return session.folder


@pytest.fixture
def terminal(endless: Path):
    one = Terminal(endless)
    yield one
    one.close()


def interrupted(terminal: Terminal, phase: str) -> None:
    terminal.until(phase)
    terminal.type(CTRL_C)
    terminal.until("[f]inish with what is learnt so far and write the report, or [s]ave and stop? ")


@pytest.mark.parametrize(
    ("phase", "stopped"),
    [pytest.param("training the last stages", "0", marks=pytest.mark.nightly), ("augmenting", "views")],
)
def test_asked_to_finish_it_tests_and_reports(terminal: Terminal, endless: Path, phase: str, stopped: str) -> None:
    interrupted(terminal, phase)
    terminal.type(b"what?\n")
    terminal.shown = ""
    terminal.until("[f]inish")  # asked again
    terminal.type(b"f\n")
    code, said = terminal.end()
    assert code == 0, terminal.shown
    assert json.loads(said)["run"] == str(endless)
    card = bundle.load_card(endless)
    assert list(card["decisions"]["stopped"]) == [stopped]
    assert card["decisions"]["told_to_finish"] is True
    assert "it was told to finish" in card["learning"]
    assert (endless / bundle.REPORT).is_file()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"s\n", id="save"),
        pytest.param(CTRL_C, id="ctrl-c", marks=pytest.mark.nightly),
        pytest.param(CTRL_D, id="end of input", marks=pytest.mark.nightly),
    ],
)
def test_else_it_saves_and_stops(terminal: Terminal, endless: Path, answer: bytes) -> None:
    interrupted(terminal, "training the last stages")
    terminal.type(answer)
    code, said = terminal.end()
    assert (code, said) == (130, "")
    assert f"foveal resume {endless}" in terminal.shown.replace("\r\n", "")
    assert not (endless / bundle.CARD).exists()
    state = checkpoint.load(endless)
    assert "step" in state.position
    assert not {"stopped", "told_to_finish"} & set(state.decisions)


def test_while_it_reads_there_is_nothing_to_finish(terminal: Terminal, endless: Path) -> None:
    terminal.until("reading")
    terminal.type(CTRL_C)
    assert terminal.end()[0] == 130
    assert "[f]inish" not in terminal.shown
