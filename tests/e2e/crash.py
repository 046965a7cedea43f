"""A server that trains in forked children and kills them, or makes their writes fail, at chosen moments.

Imports torch once and never computes in its own process, so a fork is clean. One JSON request a line on stdin, one
answer a line on stdout. Run as `python -m tests.e2e.crash`.

    {"kind": "text", "root": "/tmp/x", "name": "run", "hits": [{"after": 0.3}, {"event": "fsync", "number": 7,
     "action": "kill"}, null]}

Each hit is one child: null lets it run to its end; `after` kills it from outside after so many seconds; an event, a
write or a step of a phase, is counted inside the child, and at the given one it kills itself or, for an errno's name,
this call and all later ones fail so: a full disk stays full.
"""

from __future__ import annotations

import errno
import hashlib
import importlib
import io
import json
import os
import select
import shutil
import signal
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import torch
from PIL import Image as Pillow

from foveal import api, bundle, moments, samples
from foveal.engine import checkpoint, device, lock
from foveal.engine.checkpoint import State
from foveal.engine.tuning_plan import TuningPlan
from foveal.errors import FovealError
from foveal.report import page
from foveal.session import Session
from foveal.types import Dataset
from tests import toy_data
from tests.photos import write_lines

EVENTS = ("open", "write", "fsync", "replace")
"""What is done to the disk; beside these, each phase is an event that comes with its every step."""

TUNED = TuningPlan(boundary=6, views=2, epochs=6, batch_size=12, mirror=False, refitted=True)
FEW = {"train": 12, "val": 4, "test": 6}
FEW_LINES = {"train": 12, "val": 12, "test": 4}
EXPORTED = "model.onnx"
TORCH = device.Backend("torch", channels_last=True)
PATIENCE_SECONDS = 240


class Faults:
    """Counts what a run does to the disk, and strikes at one of these moments."""

    def __init__(self, event: str = "", number: int = 0, action: str = "kill") -> None:
        self.event, self.number, self.action = event, number, action
        self.counts: Counter[str] = Counter()

    def install(self) -> None:
        """Patch this process for good."""
        os.fsync = self.before("fsync", os.fsync)
        os.replace = self.before("replace", os.replace)
        opened = io.open

        def open_counted(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            if not set(mode) & set("wax+"):
                return opened(file, mode, *args, **kwargs)
            self.hit("open")
            return Torn(opened(file, mode, *args, **kwargs), self)

        io.open = open_counted  # what pathlib calls

    def before(self, event: str, call: Callable) -> Callable:
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.hit(event)
            return call(*args, **kwargs)

        return counted

    def hit(self, event: str) -> None:
        self.counts[event] += 1
        if event == self.event and self.counts[event] >= self.number:
            if self.action == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            code = getattr(errno, self.action)
            raise OSError(code, os.strerror(code))


Work = Callable[[Path, Faults], None]
"""What a child does to the run in a folder, calling `hit` with the phase of each step where it can."""


class Torn:
    """A file whose fateful write stops half-way, on disk."""

    def __init__(self, file: io.BufferedWriter, faults: Faults) -> None:
        self.file, self.faults = file, faults

    def __enter__(self) -> Torn:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def write(self, data: bytes) -> None:
        self.file.write(data[: len(data) // 2])
        self.file.flush()
        self.faults.hit("write")
        self.file.write(data[len(data) // 2 :])

    def flush(self) -> None:
        self.file.flush()

    def fileno(self) -> int:
        return self.file.fileno()


def make_classes(folder: Path) -> None:
    """Pictures of stripes, two kinds in folders."""
    rng = np.random.default_rng(5)
    for kind in range(2):
        (folder / f"kind{kind}").mkdir(parents=True)
        for number in range(8):
            pixels = rng.integers(0, 120, (int(rng.integers(40, 70)), int(rng.integers(50, 80)), 3)).astype(np.uint8)
            stripes = pixels[::3] if kind else pixels[:, ::3]
            stripes += 120
            Pillow.fromarray(pixels).save(folder / f"kind{kind}" / f"{number}.png")


class Server:
    """What all trials share: the data, by kind and root."""

    def __init__(self) -> None:
        self.measured = Path(os.environ["FOVEAL_CACHE"]) / "probe"
        self.datasets: dict[tuple[str, str], Dataset] = {}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        root, kind = Path(request["root"]), request["kind"]
        os.environ["FOVEAL_CACHE"] = request["cache"]
        if kind.endswith("-openvino") and not Path(request["cache"]).exists():
            self._share_measurements(Path(request["cache"]))
        work, folder = self._work(kind, root), root / request["name"]
        return {"children": [in_child(lambda faults: work(folder, faults), hit) for hit in request["hits"]]}

    def _share_measurements(self, cache: Path) -> None:
        self.measured.mkdir(exist_ok=True)
        cache.mkdir()
        (cache / "probe").symlink_to(self.measured)

    def _work(self, kind: str, root: Path) -> Work:
        data = root / f"data-{kind.removesuffix('-openvino')}"
        if not kind.endswith("-openvino"):
            device.candidates = lambda device: [TORCH]
        if kind in toy_data.KINDS:
            return self._toy(kind, root, data)
        if kind == "export":
            importlib.import_module("onnxscript")  # takes seconds, which each child would pay for
            return lambda folder, faults: export(root / "fine-tune-whole", folder)
        if kind == "fine-tune":
            table = data / "lines.csv"
            return partial(fine_tune, table if table.exists() else write_lines(table, FEW_LINES, bend=6))
        if not data.exists():
            make_classes(data)
        return partial(classify, data)

    def _toy(self, kind: str, root: Path, data: Path) -> Work:
        if (kind, str(root)) not in self.datasets:
            self.datasets[kind, str(root)] = toy_data.DATA[kind](data, FEW)
        dataset = self.datasets[kind, str(root)]

        def work(folder: Path, faults: Faults) -> None:
            state = resumable(folder)
            folder.mkdir(exist_ok=True)
            plan = toy_data.toy_plan(kind, data, epochs=3, data=dataset)
            for _ in Session(folder, plan, state).steps():
                pass

        return work


def classify(data: Path, folder: Path, faults: Faults) -> None:
    """The real thing: frozen network, closed form. On how many examples tolerance is measured is decided already:
    that follows from the clock."""
    if resumable(folder) is not None:
        api.resume(folder)
        return
    session = api.begin(data, out=folder, size=96)
    session.state = session.state.decide(tolerance=8)
    api.finish(session)


def fine_tune(table: Path, folder: Path, faults: Faults) -> None:
    """The same, then its last stages trained by a plan that is decided already, with many commits."""
    if resumable(folder) is not None:
        api.resume(folder)
        return
    session = api.begin(table, out=folder, size=64)
    recipe = replace(session.plan.recipe, checkpoint_seconds=0.0, snapshot_steps=10)
    session.plan = replace(session.plan, recipe=recipe)
    kept = {**cast("dict[str, Any]", session.state.decisions["plan"]), "recipe": asdict(recipe)}
    session.state = State(decisions={"plan": kept, "fine_tune": asdict(TUNED), "tolerance": 8})
    api.finish(session, lambda step: faults.hit(step.phase))


def export(finished: Path, folder: Path) -> None:
    """Write the ONNX file of a copy of a finished run."""
    if not folder.exists():
        shutil.copytree(finished, folder)
    api.load(folder).export()


def resumable(folder: Path) -> State | None:
    """The state to go on from; None, and a clean slate, where the run was killed before its first commit."""
    if list(folder.glob("state*.safetensors")):
        return checkpoint.load(folder)
    if folder.exists():
        names = {file.name for file in folder.iterdir()} - {lock.NAME}
        assert all(name.startswith(".") for name in names), "files without a state"
        shutil.rmtree(folder)
    return None


def in_child(work: Callable[[Faults], None], hit: dict[str, Any] | None) -> dict[str, Any]:
    """Run `work` in a fork; what became of it."""
    reader, writer = os.pipe()
    started = time.monotonic()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        sys.stdout = sys.stderr
        _finish(work, hit or {}, writer)
    os.close(writer)
    if hit and "after" in hit:
        time.sleep(hit["after"])
        os.kill(pid, signal.SIGKILL)
    if not select.select([reader], [], [], PATIENCE_SECONDS)[0]:
        os.kill(pid, signal.SIGKILL)  # it hangs, which its status tells
    with os.fdopen(reader) as pipe:
        said = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    seconds = time.monotonic() - started
    silent = {"error": f"ended with {status} after {seconds:.0f} seconds"}
    return {"status": status, "seconds": seconds, **(json.loads(said) if said.endswith("\n") else silent)}


def _finish(work: Callable[[Faults], None], hit: dict[str, Any], writer: int) -> None:
    faults = Faults(**hit) if "event" in hit else Faults()
    faults.install()
    status, said = 0, {}
    try:
        work(faults)
    except FovealError as error:
        status, said = error.exit_code, {"error": str(error), "kind": type(error).__name__}
    except BaseException:
        status, said = 99, {"error": traceback.format_exc(), "kind": "crash"}
    os.write(writer, (json.dumps({**said, "events": faults.counts}) + "\n").encode())
    os._exit(status)


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of what a killed and resumed run must have in common with an uninterrupted one; the card apart from
    times and rates."""
    names = (bundle.WEIGHTS, bundle.SPLITS, bundle.PREDICTIONS, bundle.METRICS, samples.FILE)
    card = bundle.load_card(folder)
    decisions = {name: made for name, made in card["decisions"].items() if name != "probe"}
    kept = {key: value for key, value in card.items() if key not in ("created", "seconds", "cost")}
    said = json.dumps({**kept, "decisions": decisions}, sort_keys=True).encode()
    contents = {bundle.CARD: said, **{name: (folder / name).read_bytes() for name in names}}
    if (folder / moments.FILE).exists():
        contents[moments.FILE] = (folder / moments.FILE).read_bytes()
    if (folder / EXPORTED).exists():
        contents[EXPORTED] = _without_metadata(folder / EXPORTED)
    return {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}


def _without_metadata(exported: Path) -> bytes:
    """The graph and its weights; the metadata name the run folder, of which each trial has its own."""
    model = onnx.load(exported)
    del model.metadata_props[:]
    return model.SerializeToString(deterministic=True)


def warm() -> None:
    """Pay once, in the parent, for what each child would pay for: imports and the report's template."""
    importlib.import_module("torch._dynamo")  # what torch.optim imports on first use, for 2 s

    Pillow.init()
    page.render({}, [])
    assert threading.active_count() == 1, "a fork copies the calling thread only"


def main() -> None:
    torch.set_num_threads(1)
    warm()
    server = Server()
    for line in sys.stdin:
        print(json.dumps(server.answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
