"""One process at a time on a run; a killed one holds nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import foveal
from foveal import api
from foveal.engine.lock import alone
from foveal.errors import DataError, FovealError, RunError
from tests.conftest import Tiny

ROOT = Path(__file__).resolve().parents[2]
HOLDER = (
    "import pathlib, sys, time\nfrom foveal.engine.lock import alone\n"
    "with alone(pathlib.Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(600)"
)


@contextmanager
def held_elsewhere(folder: Path) -> Iterator[subprocess.Popen]:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, cwd=ROOT) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        yield holder
        holder.kill()


def test_a_second_process_is_told_until_the_first_is_killed(tmp_path: Path) -> None:
    with held_elsewhere(tmp_path) as holder:
        with pytest.raises(RunError, match=rf"{tmp_path}: another process"), alone(tmp_path):
            pass
        holder.send_signal(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
        holder.wait()
        with alone(tmp_path):
            pass
    with alone(tmp_path):
        pass


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FovealError, match=r"state\.lock"), alone(tmp_path / "file"):
        pass


def test_a_run_that_is_worked_on_is_not_resumed(tiny: Tiny, tmp_path: Path) -> None:
    session = api.begin(tiny.data, out=tmp_path / "run")
    next(session.steps())
    with held_elsewhere(session.folder):
        command = [sys.executable, "-m", "foveal", "resume", str(session.folder)]
        told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert told.returncode == 1
        assert "another process works on this run" in told.stderr
        assert "Traceback" not in told.stderr
    assert foveal.resume(session.folder).test


def test_refused_data_leave_no_lock_behind(tmp_path: Path) -> None:
    for name in ("cats", "dogs"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(6):
            (tmp_path / "data" / name / f"{number}.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError):
        foveal.train(tmp_path / "data", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
