"""Killed anywhere and resumed, a run ends with the same bytes; on a failing disk it stops and says where.

The trainings run in `crash.py`. A trial is one run: killed once or several times, then resumed to its end.
"""

from __future__ import annotations

import errno
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from foveal import bundle, moments
from foveal.engine import checkpoint
from tests.e2e.crash import EVENTS, digests

KINDS = ("boxes", "masks", "text", "classify")
PHASES = (
    "fine-tune",
    *(pytest.param(phase, marks=pytest.mark.nightly) for phase in ("views", "learn", "evaluate", "report")),
)
KILLED = -9
ROOT = Path(__file__).resolve().parents[2]
FAILING = (("text", 0.2), ("text", 0.9), ("classify", 0.5))
ERRNOS = {"open": "EACCES", "write": "ENOSPC", "fsync": "EIO", "replace": "EACCES"}


class Lab:
    """A server, and the uninterrupted run of each kind to compare with."""

    def __init__(self, root: Path) -> None:
        self.root, self.count = root, 0
        self.whole: dict[str, dict[str, Any]] = {}
        self.server = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.e2e.crash"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def close(self) -> None:
        assert self.server.stdin is not None
        self.server.stdin.close()
        assert self.server.wait(timeout=60) == 0
        assert self.server.stdout is not None
        self.server.stdout.close()

    def ask(self, kind: str, name: str, hits: list[dict[str, Any] | None]) -> list[dict[str, Any]]:
        """One child a hit, all on the run of this name with a cache of its own."""
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        cache = self.root / f"{name}.cache"
        request = {"kind": kind, "root": str(self.root), "name": name, "cache": str(cache), "hits": hits}
        self.server.stdin.write(json.dumps(request) + "\n")
        self.server.stdin.flush()
        line = self.server.stdout.readline()
        assert line, "the server died"
        return json.loads(line)["children"]

    def reference(self, kind: str) -> dict[str, Any]:
        """The uninterrupted run: how long it took, what it did to the disk, and its digests."""
        if kind not in self.whole:
            if kind == "export":
                self.reference("fine-tune")  # what is exported
            (child,) = self.ask(kind, f"{kind}-whole", [None])
            assert child["status"] == 0, child["error"]
            self.whole[kind] = {**child, "digests": digests(self.root / f"{kind}-whole")}
        return self.whole[kind]

    def trial(self, kind: str, hits: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Hit a fresh run so, let it come to its end, and compare it with the uninterrupted one."""
        whole = self.reference(kind)
        self.count += 1
        name = f"{kind}-{self.count}"
        *struck, last = self.ask(kind, name, [*hits, None])
        told = f"{kind}: {hits} then {last}"
        assert last["status"] == 0, told
        assert all(child["status"] == KILLED for child in struck if child["status"] != 0), told
        assert digests(self.root / name) == whole["digests"], told
        assert not list((self.root / name).glob(".*")), told
        return struck


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    laboratory = Lab(tmp_path_factory.mktemp("crash"))
    yield laboratory
    laboratory.close()


def at_random(whole: dict[str, Any], dice: random.Random) -> list[dict[str, Any]]:
    """One kill at any instant of the run, one time in three a second one while it resumes."""
    kills = 2 if dice.random() < 1 / 3 else 1
    return [{"after": dice.uniform(0, whole["seconds"])} for _ in range(kills)]


def at_event(whole: dict[str, Any], dice: random.Random) -> list[dict[str, Any]]:
    """One kill at any write of the run, one time in three a second one among the first writes after it."""
    event = dice.choice(EVENTS)
    hits = [{"event": event, "number": dice.randint(1, whole["events"][event]), "action": "kill"}]
    if dice.random() < 1 / 3:
        hits.append({"event": dice.choice(EVENTS), "number": dice.randint(1, 8), "action": "kill"})
    return hits


def kill(lab: Lab, kind: str, choose, kills: int, seed: int) -> None:
    """Trials until that many kills struck; one that comes after the run's end does not count."""
    dice, struck = random.Random(f"{kind} {choose.__name__} {seed}"), 0
    for _ in range(3 * kills):
        children = lab.trial(kind, choose(lab.reference(kind), dice))
        struck += sum(child["status"] == KILLED for child in children)
        if struck >= kills:
            return
    pytest.fail(f"only {struck} of {kills} kills struck")


@pytest.mark.parametrize("choose", [pytest.param(at_random, marks=pytest.mark.nightly), at_event])
@pytest.mark.parametrize("kind", KINDS)
def test_killed_and_resumed_is_the_same(lab: Lab, kind: str, choose) -> None:
    kill(lab, kind, choose, kills=1 if choose is at_random else 2, seed=0)


@pytest.mark.parametrize("phase", PHASES)
def test_fine_tuning_survives_a_kill_in_every_phase(lab: Lab, phase: str) -> None:
    """In the middle of it; "learn" are the steps of judging, after those of the closed form."""
    count = lab.reference("fine-tune")["events"][phase]
    number = count if phase == "learn" else (count + 1) // 2
    (child,) = lab.trial("fine-tune", [{"event": phase, "number": number, "action": "kill"}])
    assert child["status"] == KILLED


def test_the_fine_tuning_that_is_killed_here_leads_somewhere(lab: Lab) -> None:
    lab.reference("fine-tune")
    assert bundle.load_card(lab.root / "fine-tune-whole")["fine_tuning"]["blend"] > 0
    assert moments.FILE in lab.reference("fine-tune")["digests"]


@pytest.mark.nightly
def test_export_survives_a_kill_half_way_through_the_file(lab: Lab) -> None:
    (child,) = lab.trial("export", [{"event": "write", "number": 1, "action": "kill"}])
    assert child["status"] == KILLED


def test_killed_at_the_first_commits(lab: Lab) -> None:
    """Before, within and after the very first states: there is nothing before them to fall back to."""
    for event, number in (("open", 1), ("write", 1), ("replace", 1), ("fsync", 2), ("replace", 2)):
        (child,) = lab.trial("text", [{"event": event, "number": number, "action": "kill"}])
        assert child["status"] == KILLED


@pytest.mark.nightly
def test_openvino_survives_too(lab: Lab) -> None:
    """The default backend of many machines, in a fork, killed while it stores features."""
    pytest.importorskip("openvino")
    struck = lab.trial("classify-openvino", [{"event": "write", "number": 5, "action": "kill"}])
    assert struck[0]["status"] == KILLED


@pytest.mark.nightly
@pytest.mark.parametrize("choose", [at_random, at_event])
@pytest.mark.parametrize("kind", [*KINDS, "fine-tune"])
def test_killed_and_resumed_is_the_same_many_times(lab: Lab, kind: str, choose) -> None:
    kill(lab, kind, choose, kills=20, seed=1)


@pytest.mark.nightly
@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("kind", ["fine-tune", "export"])
def test_killed_at_every_single_write(lab: Lab, kind: str, event: str) -> None:
    for number in range(1, lab.reference(kind)["events"][event] + 1):
        (child,) = lab.trial(kind, [{"event": event, "number": number, "action": "kill"}])
        assert child["status"] == KILLED, number


@pytest.mark.nightly
def test_export_survives_a_kill_at_any_instant(lab: Lab) -> None:
    kill(lab, "export", at_random, kills=10, seed=1)


@pytest.mark.parametrize(
    ("kind", "share", "event"),
    [
        *((*run, event) for run in FAILING for event in EVENTS),
        pytest.param("fine-tune", 0.7, "write", marks=pytest.mark.nightly),
    ],
)
def test_a_failing_disk_is_told_and_harms_nothing(lab: Lab, kind: str, share: float, event: str) -> None:
    number = max(2, round(share * lab.reference(kind)["events"][event]))
    fail(lab, kind, {"event": event, "number": number, "action": ERRNOS[event]})


@pytest.mark.nightly
@pytest.mark.parametrize(("event", "code"), [("write", "ENOSPC"), ("open", "EROFS")])
def test_a_disk_that_fails_from_any_write_on_harms_nothing(lab: Lab, event: str, code: str) -> None:
    """A full disk, and a folder that becomes read-only, at every write of a fine-tuning run."""
    for number in range(1, lab.reference("fine-tune")["events"][event] + 1):
        fail(lab, "fine-tune", {"event": event, "number": number, "action": code})


def fail(lab: Lab, kind: str, hit: dict[str, Any]) -> None:
    """A run on a disk that fails says so and leaves what it had; on a good one it ends as it would have."""
    lab.count += 1
    name = f"{kind}-{lab.count}"
    (child,) = lab.ask(kind, name, [hit])
    folder = lab.root / name
    assert child["status"] == 1, child
    assert child["kind"] == "FovealError", child
    assert os.strerror(getattr(errno, hit["action"])) in child["error"]
    assert child["error"].startswith((str(folder), f"{folder}.cache")), child
    assert not list(folder.rglob("*.tmp"))
    assert not (folder / bundle.CARD).exists()
    if list(folder.glob("state*.safetensors")):
        checkpoint.load(folder)
    else:
        assert hit["number"] <= 2, "there was a state before"
    (resumed,) = lab.ask(kind, name, [None])
    assert resumed["status"] == 0, resumed
    assert digests(folder) == lab.reference(kind)["digests"]
