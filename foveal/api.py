"""What a script calls, and all that the command line does: check, train, resume, load.

Knows every part of foveal and holds no procedure of its own: a run in progress is `session.py`, a finished one is
`run.py`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from foveal import bundle, demo, formats, made, nets, novelty, sizing, tasks, worked
from foveal.audit import Audit, FileAudit
from foveal.contracts import Task
from foveal.engine import checkpoint, device, lock
from foveal.engine.checkpoint import State, write_atomic
from foveal.engine.contest import is_averaged
from foveal.engine.evaluate import Scores
from foveal.engine.reading import Plan, affordable
from foveal.errors import DataError, FovealError, UsageError
from foveal.explain.faithfulness import in_words
from foveal.recipe import Recipe
from foveal.report import convolution
from foveal.report.maps import by_word
from foveal.run import Run, read_data
from foveal.session import Inspection, Session
from foveal.types import LARGEST_SIZE, SMALLEST_SIZE, Dataset, Explanation, Finding, Step

Watcher = Callable[[Step], None]
"""Called after every step of long work; raise KeyboardInterrupt from it to stop."""


def train(
    data: str | Path,
    *,
    task: str | None = None,
    out: str | Path | None = None,
    minutes: float = 5.0,
    size: int | None = None,
    model: str | None = None,
    label: str | None = None,
    group: str | None = None,
    text: str | None = None,
    folds: int | None = None,
    seed: int = 0,
    device: str | None = None,
    watch: Watcher | None = None,
) -> Run:
    """Train on a folder or table of labelled files and return the finished run.

    out: the run folder, by default runs/NAME; never overwritten. label, group: a column of the table, or a regular
    expression for paths; text: the column with the texts. folds: score out of fold even where there are enough
    examples for a test part. Raises DataError where the data are refused, UsageError where an argument names what
    does not exist.
    """
    session = begin(
        data, task=task, out=out, minutes=minutes, size=size, model=model, label=label, group=group, text=text,
        folds=folds, seed=seed, device=device,
    )  # fmt: skip
    return finish(session, watch)


def begin(
    data: str | Path,
    *,
    task: str | None = None,
    out: str | Path | None = None,
    minutes: float = 5.0,
    size: int | None = None,
    model: str | None = None,
    label: str | None = None,
    group: str | None = None,
    text: str | None = None,
    folds: int | None = None,
    seed: int = 0,
    device: str | None = None,
) -> Session:
    """The first half of `train`: the run with its data read and its folder made, before any work is done."""
    if size is not None and not SMALLEST_SIZE <= size <= LARGEST_SIZE:
        raise UsageError(f"--size {size}: expected {SMALLEST_SIZE} to {LARGEST_SIZE}")
    began, asked = time.perf_counter(), None if task is None else tasks.find(task)
    dataset = read_data(Path(data), asked, label, group, text)
    name = asked or tasks.guess(dataset)
    plan = _plan(dataset, name, model, Recipe(minutes=minutes, seed=seed), size, folds, device)
    if model is None:
        plan = _with_larger(_contested(plan))
    plan = replace(plan, resizes=size is None and tasks.TASKS[name].size is None)
    folder = bundle.new_folder(default_folder(data) if out is None else Path(out))
    given = {"data": str(Path(data).absolute()), "label": label, "group": group, "text": text}
    return Session(folder, plan, State(decisions={"plan": _plan_json(plan, given)}), began=began)


def finish(session: Session, watch: Watcher | None = None) -> Run:
    """The second half of `train` and `resume`: all the work. What was done is kept where it is interrupted.

    Raises RunError where another process works on the same run.
    """
    try:
        with lock.alone(session.folder):
            _worked(session, watch)
    except DataError:
        bundle.discard(session.folder)
        raise
    return load(session.folder)


def _worked(session: Session, watch: Watcher | None) -> None:
    try:
        for step in session.steps():
            if watch is not None:
                watch(step)
    except KeyboardInterrupt:
        session.save()
        raise


def default_folder(data: str | Path) -> Path:
    """The run folder of data for which none is named: runs/ and the name of the folder or table."""
    resolved = Path(data).resolve()
    return Path("runs") / ((resolved.stem if resolved.is_file() else resolved.name) or "run")


def resume(run: str | Path, watch: Watcher | None = None) -> Run:
    """Continue a run that was interrupted, to the same bytes that it would have had; a finished one is loaded.

    Raises RunError where the folder is not a run, or the data or versions changed since it began.
    """
    session = reopen(run)
    return load(run) if session is None else finish(session, watch)


def reopen(run: str | Path) -> Session | None:
    """The first half of `resume`: the run as it was left, before any work is done; None where it is finished."""
    began, folder = time.perf_counter(), Path(run)
    if (folder / bundle.CARD).is_file():
        return None
    state = checkpoint.load(folder)
    kept = state.decisions["plan"]
    assert isinstance(kept, dict)
    name, recipe = kept["task"], Recipe(**kept["recipe"])
    dataset = read_data(Path(kept["data"]), name, kept["label"], kept["group"], kept["text"])
    plan = _plan(dataset, name, kept["net"], recipe, recipe.size, kept["folds"], kept["device"])
    if kept["contested"]:
        plan = _contested(plan)
    if kept["larger"]:
        plan = _with_larger(plan)
    plan = replace(plan, resizes=kept["resizes"])
    return Session(folder, plan, state, began=began)


def load(run: str | Path) -> Run:
    """Open a finished run folder. Raises RunError where it is unfinished, damaged or altered."""
    return Run(Path(run))


def describe(dataset: Dataset) -> list[str]:
    """How foveal understood a folder or table, as lines for people."""
    return formats.describe(dataset)


def differences(scores: Scores) -> list[str]:
    """What `Run.evaluate` found of how other data differ from the run's own, as lines for people."""
    return novelty.lines(scores.details)


def check(
    data: str | Path, *, label: str | None = None, group: str | None = None, watch: Watcher | None = None
) -> tuple[Dataset, tuple[Finding, ...]]:
    """Decode everything, train nothing: the data as understood, and all that is odd about them."""
    dataset = read_data(Path(data), None, label, group)
    dataset, fitted, _ = _fitted(dataset, tasks.guess(dataset), None, None)
    inspection = Inspection(dataset, fitted)
    for step in inspection.steps():
        if watch is not None:
            watch(step)
    return dataset, tuple(inspection.material.findings)


def write_demo(task: str | None = None) -> tuple[Path, demo.Demo]:
    """Write the data of a task's demonstration; their folder, and what is to be known of it."""
    row = tasks.TASKS[tasks.find(task)] if task is not None else next(iter(tasks.TASKS.values()))
    found = demo.DEMOS[row.demo]
    return found.write(), found


def predict_files(
    run: Run, files: Sequence[Path], out: Path | None = None
) -> tuple[list[dict[str, object]], dict[Path, str], Path | None]:
    """A JSON-able row a readable file, and what is wrong with the others.

    With `out`, the rows also stand in predictions.csv in that folder, whose path is returned last; what has a place
    is drawn there too, boxes stand in results.coco.json, and masks are PNG files of class numbers.
    """
    path = None if out is None or not files else _new_file(out, "predictions", ".csv")
    found, problems = run.predict_readable([thing for file in files for thing in run.things(file)])
    target, input = run.task.target, run.task.input
    rows: list[dict[str, object]] = [
        {"file": str(file), **target.row(prediction)} for file, prediction in found.items()
    ]
    if out is not None and not target.whole:
        for row, (file, prediction) in zip(rows, found.items(), strict=True):
            drawing = _new_file(out, f"{file.stem}.found", ".png")
            target.draw(input.render(input.load(file)), prediction).save(drawing)
            row["drawing"] = str(drawing)
            for suffix, content in target.files(prediction).items():
                held = _new_file(out, file.stem, suffix)
                write_atomic(held, content)
                row.setdefault("files", []).append(str(held))  # type: ignore[attr-defined]
        results = target.results(list(found.values()))
        if results is not None:
            names = {number: str(file) for number, file in enumerate(found, 1)}
            whole = [{**one, "file_name": names[int(str(one["image_id"]))]} for one in results]
            write_atomic(_new_file(out, "results.coco", ".json"), json.dumps(whole).encode())
    if path is not None:
        bundle.save_rows(path, ("file", "predicted", "score"), [(r["file"], r["label"], r["score"]) for r in rows])
    return rows, problems, path


def predict_video(
    run: Run, file: Path, out: Path | None = None, watch: Watcher | None = None
) -> tuple[list[dict[str, object]], dict[str, object]]:
    """A JSON-able row a frame of a video, and what came of it: how many frames, at how many a second, and with `out`
    where they are drawn."""
    drawing = None if out is None else _new_file(out, f"{file.stem}.found", ".mp4")
    rows: list[dict[str, object]] = []
    summary: dict[str, object] = {"file": str(file), "frames": 0, "frames_per_second": 0.0}
    for seen in run.watch(file, drawing):
        place = {"file": str(file), "frame": seen.frame, "second": round(seen.seconds, 3)}
        rows.append({**place, **run.task.target.row(seen.prediction)})
        summary |= {"frames": seen.frame + 1, "frames_per_second": round(seen.rate, 1)}
        if watch is not None:
            watch(Step("video", seen.frame + 1, max(seen.total, seen.frame + 1), {"frames/s": seen.rate}))
    return rows, summary if drawing is None else {**summary, "drawing": str(drawing)}


def explain_files(run: Run, files: Sequence[Path], out: Path) -> list[dict[str, object]]:
    """Explain each file and draw it into the folder `out`; a JSON-able row a file."""
    rows: list[dict[str, object]] = []
    things = [thing for file in files for thing in run.things(file)]
    for file in things:
        explanation = run.explain(file)
        path = _new_file(out, f"{file.stem}.why", ".png")
        run.draw(file, explanation).save(path)
        rows.append(
            {
                "file": str(file),
                "label": explanation.prediction.label,
                "probability": explanation.prediction.score,
                "score": explanation.score,
                "bias": explanation.bias,
                "cells": float(sum(level.sum() for level in explanation.cells)),
                "exact": explanation.exact,
                "maps": [level.tolist() for level in explanation.cells],
                **_measured(explanation),
                "best_method": run.best_method,
                "drawing": str(path),
                **_words(explanation),
                **_sounds(run, file, explanation, out),
                **_neighbours(run, file),
            }
        )
    return rows


def audit(run: str | Path, data: str | Path | None = None, watch: Watcher | None = None) -> dict[str, Any]:
    """How far a run's explanations can be trusted; kept in faithfulness.json and shown in the report.

    run: a run folder, or an ONNX file of whatever origin that tells classes of pictures, of which nothing is kept.
    data: labelled examples to look at; the run's own where None. Raises DataError where they are not there.
    """
    if Path(run).suffix.lower() == ".onnx":
        if data is None:
            raise UsageError(f"{run}: name the labelled pictures to look at: foveal audit {run} DATA")
        outside = FileAudit(Path(run), data)
        for step in outside.steps():
            if watch is not None:
                watch(step)
        return outside.found
    finished = load(run)
    with lock.alone(finished.folder):
        auditing = Audit(finished, data)
        for step in auditing.steps():
            if watch is not None:
                watch(step)
        finished.write_report()
    return auditing.found


def _measured(explanation: Explanation) -> dict[str, object]:
    """How faithful it is, and what erasing each cell takes from the score."""
    found, erased = explanation.faithfulness, explanation.erased
    assert found is not None
    assert erased is not None
    return {
        "verdict": found.verdict,
        "faithfulness": {**asdict(found), "in_words": in_words(found)},
        "erased": [level.tolist() for level in erased.cells],
        **({} if explanation.detail is None else {"detail": explanation.detail.round(6).tolist()}),
    }


def _neighbours(run: Run, file: Path) -> dict[str, object]:
    """The training examples that are most like a file, and the nearest of another class; nothing where the data are
    not there any more, or examples hold many things."""
    if not run.task.target.whole:
        return {}
    try:
        near, other = run.neighbours(file)
    except DataError:
        return {}
    rows = [{**one._asdict(), "file": str(one.file)} for one in (*near, *([other] if other else []))]
    return {"neighbours": rows[: len(near)], "nearest_other": rows[-1] if other else None}


def _words(explanation: Explanation) -> dict[str, object]:
    """Of a text: what each word adds."""
    if not explanation.words:
        return {}
    values = by_word(explanation).tolist()
    return {"words": [[word.strip(), value] for word, value in zip(explanation.words, values, strict=True)]}


def convolve_file(file: str | Path, kernel: str, out: str | Path | None = None) -> dict[str, object]:
    """Write the page that shows a file, a kernel, the map and every sum; what it holds as a JSON-able row.

    kernel: a name (`foveal.kernels`), a CSV file of numbers, or RUN:layer:channel. out: a file that does not exist
    yet, by default NAME.convolve.html in the current folder. `example` is the position where the map is largest in
    size. Raises DataError where the file cannot be read, UsageError where the kernel does not exist or fit.
    """
    path = None if out is None else _absent(Path(out))
    exhibit = worked.work(Path(file), kernel)
    html = convolution.render(exhibit).encode()
    path = _new_file(Path(), f"{Path(file).stem}.convolve", ".html") if path is None else _absent(path)
    write_atomic(path, html)
    found, position = exhibit.found, exhibit.found.at(*exhibit.strongest)
    return {
        "file": str(file),
        "kernel": kernel,
        "about": exhibit.about,
        "notes": list(exhibit.notes),
        "shapes": {
            "input": list(found.f.shape),
            "kernel": list(found.g.shape),
            "map": list(found.map.shape),
        },
        "stride": list(found.stride),
        "padding": list(found.padding),
        "dilation": list(found.dilation),
        "minimum": float(exhibit.map.min()),
        "maximum": float(exhibit.map.max()),
        "example": {
            "at": list(position.index),
            "window": position.window.tolist(),
            "kernel": found.kernel.tolist(),
            "products": position.products.tolist(),
            "bias": exhibit.bias,
            "value": position.total + exhibit.bias,
        },
        "page": str(path),
    }


def _absent(path: Path) -> Path:
    """The path again, if a new file can be written there. Raises FovealError where one exists or no folder does."""
    if path.exists():
        raise FovealError(f"{path}: exists, and nothing is overwritten; name another file with --out")
    if not path.parent.is_dir():
        raise FovealError(f"{path}: expected a file in a folder that exists; {path.parent} does not")
    return path


def _sounds(run: Run, file: Path, explanation: Explanation, out: Path) -> dict[str, object]:
    """Where what speaks for the prediction, and the rest, was written, where that can be heard."""
    found = {}
    for name, data in run.parted(file, explanation).items():
        path = _new_file(out, f"{file.stem}.{name}", ".wav")
        write_atomic(path, data)
        found[name] = str(path)
    return {"sounds": found} if found else {}


def _new_file(folder: Path, stem: str, suffix: str) -> Path:
    """A file in `folder` that does not exist yet: nothing of the user's is overwritten."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FovealError(f"{folder}: cannot be created ({error.strerror}); name another with --out") from error
    names = (f"{stem}{suffix}", *(f"{stem}-{number}{suffix}" for number in range(2, 10_000)))
    return next(folder / name for name in names if not (folder / name).exists())


def _plan(
    dataset: Dataset,
    task: str,
    model: str | None,
    recipe: Recipe,
    size: int | None,
    folds: int | None,
    on: str | None,
) -> Plan:
    dataset, fitted, entry = _fitted(dataset, task, model, size)
    torch.manual_seed(recipe.seed)  # what a network from nothing begins with is a function of the seed
    net = nets.pretrained(entry.name) if entry.pretrained else entry.build(fitted.input)
    made.define(net, fitted.input)
    plan = Plan(
        data=dataset,
        task=fitted,
        net=net,
        net_name=entry.name,
        net_digest=made.prepare(net, fitted.input, dataset) if entry.made else entry.digest,
        frozen=entry.frozen,
        tunable=not entry.made,
        recipe=replace(recipe, size=fitted.input.size),
        folds=folds,
        device=device.choose_device(on),
    )
    return plan if size is not None or not entry.pretrained else affordable(plan)


def _contested(plan: Plan) -> Plan:
    """The plan with a rival that is trained from nothing, where that fits the input: at a size of its own, or at that
    of the plan where both may be handed over."""
    if tasks.TASKS[plan.task.name].size is not None:
        return plan
    if not plan.frozen or plan.task.input.dims not in nets.find(nets.SCRATCH).dims:
        return plan
    size = plan.task.input.size if plan.tunable and is_averaged(plan) else None
    rival = _plan(plan.data, plan.task.name, nets.SCRATCH, plan.recipe, size, plan.folds, plan.device)
    return replace(plan, rival=rival)


def _with_larger(plan: Plan) -> Plan:
    """The plan with the larger network that may be fine-tuned instead, where the task has one and it is installed."""
    name = tasks.TASKS[plan.task.name].larger
    if name is None or not plan.frozen or not nets.find(name).installed():
        return plan
    digest = nets.find(name).digest
    return replace(plan, larger=replace(plan, net=nets.pretrained(name), net_name=name, net_digest=digest))


def _fitted(dataset: Dataset, task: str, model: str | None, size: int | None) -> tuple[Dataset, Task, nets.Entry]:
    """The task with the input that its files are for, the net that takes it, and the data with what is to be told.

    Without a net named, the task's usual one, or one from nothing where that takes other channels. Raises UsageError
    where a net is named that does.
    """
    sources = [example.source for example in dataset.examples]
    row = tasks.TASKS[task]
    entry = nets.find(model or row.net)
    input = tasks.input_for(task, sources)().fit(sources, size or row.size)
    channels = input.shape()[0]
    if input.dims not in entry.dims:
        raise UsageError(f"{entry.name} is not for {task}; use --model {row.net} or {nets.SCRATCH}, or none")
    if entry.channels not in (None, channels):
        if model is not None:
            takes = f"{entry.name} takes {entry.channels} channels, the data have {channels}"
            raise UsageError(f"{takes}; use --model {nets.SCRATCH}")
        entry = nets.find(nets.SCRATCH)
    if size is None and row.size is not None and entry.pretrained:
        side = sizing.needed(input, row.target.fit(dataset), dataset.examples, row.size)
        input = replace(input, size=side)  # type: ignore[type-var]
    elif size is None and row.size is None and not entry.frozen:
        input = replace(input, size=input.own_size(sources))  # type: ignore[type-var]
    told = replace(dataset, findings=(*dataset.findings, *input.findings(sources)))
    return told, Task(task, input, row.target), entry


def _plan_json(plan: Plan, given: dict[str, str | None]) -> dict[str, object]:
    """What `resume` rebuilds the plan from."""
    return {
        **given,
        "task": plan.task.name,
        "net": plan.net_name,
        "recipe": asdict(plan.recipe),
        "folds": plan.folds,
        "device": plan.device,
        "contested": plan.rival is not None,
        "larger": plan.larger is not None,
        "resizes": plan.resizes,
    }
