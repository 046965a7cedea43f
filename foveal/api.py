"""What a script calls, and all that the command line does: train, resume, load, predict, explain, export, evaluate.

Knows every part of foveal and holds no procedure of its own; a run in progress is `session.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path


from foveal import bundle, export, formats, nets, tasks
from foveal.contracts import Canvas, FormatOptions, Model, Task
from foveal.engine import checkpoint, device
from foveal.engine.checkpoint import State
from foveal.engine.evaluate import Scores, evaluate
from foveal.engine.frozen import Gathered
from foveal.engine.predict import live_predictor
from foveal.engine.reading import Plan
from foveal.errors import DataError, RunError, UsageError
from foveal.explain.ledger import ledger
from foveal.recipe import Recipe
from foveal.report.maps import overlay
from foveal.session import Session
from foveal.types import Dataset, Estimate, Explanation, Prediction, Step

Watcher = Callable[[Step], None]
"""Called after every step of long work; raise KeyboardInterrupt from it to stop."""

_EXPORT_CHECKS = 500
_BATCH = 32


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
    folds: int | None = None,
    seed: int = 0,
    device: str | None = None,
    watch: Watcher | None = None,
) -> Run:
    """Train on a folder or table of labelled files and return the finished run.

    out: the run folder, by default runs/NAME; never overwritten. label, group: a column of the table, or a regular
    expression for paths. folds: score out of fold even where there are enough examples for a test part. Raises
    DataError where the data are refused, UsageError where an argument names what does not exist.
    """
    name = tasks.find(task)
    dataset = read(data, task=name, label=label, group=group)
    plan = _plan(dataset, name, model, Recipe(minutes=minutes, seed=seed), size, folds, device)
    folder = bundle.new_folder(Path(out) if out is not None else Path("runs") / _run_name(Path(data)))
    given = {"data": str(Path(data).absolute()), "label": label, "group": group}
    return _finish(Session(folder, plan, State(decisions={"plan": _plan_json(plan, given)})), watch)


def resume(run: str | Path, watch: Watcher | None = None) -> Run:
    """Continue a run that was interrupted, to the same bytes that it would have had; a finished one is loaded.

    Raises RunError where the folder is not a run, or the data or versions changed since it began.
    """
    folder = Path(run)
    if (folder / bundle.CARD).is_file():
        return load(folder)
    state = checkpoint.load(folder)
    kept = state.decisions["plan"]
    assert isinstance(kept, dict)
    dataset = read(kept["data"], task=kept["task"]["name"], label=kept["label"], group=kept["group"])
    recipe = Recipe(**kept["recipe"])
    plan = _plan(dataset, kept["task"]["name"], kept["net"], recipe, recipe.size, kept["folds"], kept["device"])
    return _finish(Session(folder, plan, state), watch)


def load(run: str | Path) -> Run:
    """Open a finished run folder. Raises RunError where it is unfinished, damaged or altered."""
    return Run(Path(run))


def read(
    data: str | Path, *, task: str | None = None, label: str | None = None, group: str | None = None
) -> Dataset:
    """How foveal understands a folder or table: every labelled example, and what is odd about them."""
    options = FormatOptions(suffixes=tasks.suffixes(tasks.find(task)), label=label, group=group)
    return formats.read(Path(data), options)


class Run:
    """A finished run: its card, scores and network."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.card = bundle.load_card(folder)
        self.task: Task = tasks.from_json(self.card["task"])

    @property
    def test(self) -> dict[str, Estimate]:
        """Metric name -> estimate on unseen examples; `card["scored_on"]` says which those are."""
        return {name: Estimate(**values) for name, values in self.card["scores"]["test"].items()}

    @property
    def report(self) -> Path:
        return self.folder / bundle.REPORT

    @cached_property
    def model(self) -> Model:
        """The network, preprocessing and calibration included. Raises RunError where the weights were altered."""
        model = Model(self.task, nets.find(self.card["net"]["name"]).build())
        model.load_state_dict(bundle.load_weights(self.folder, self.card))
        return model.eval()

    def predict(self, *files: str | Path) -> Prediction | list[Prediction]:
        """One prediction for one file, a list for several. Raises DataError naming a file that cannot be read."""
        found = self.predict_all([Path(file) for file in files])
        return found[0] if len(files) == 1 else found

    def predict_all(self, files: Sequence[Path]) -> list[Prediction]:
        """Predictions in the order of the files."""
        predict = live_predictor(self.model, self.task, self._extract if len(files) >= _BATCH else None)
        found = []
        for start in range(0, len(files), _BATCH):
            found += predict([self.task.input.load(file) for file in files[start : start + _BATCH]])
        return found

    def explain(self, file: str | Path) -> Explanation:
        """The exact ledger of one file's prediction."""
        return ledger(self.model, self.task, self.task.input.load(Path(file)))

    def draw(self, file: str | Path) -> Canvas:
        """The file with its prediction's evidence drawn over it."""
        raw = self.task.input.load(Path(file))
        return overlay(self.task.input.render(raw), ledger(self.model, self.task, raw))

    def evaluate(self, data: str | Path, *, label: str | None = None, group: str | None = None) -> Scores:
        """Score on other labelled data. Raises DataError where they have classes that the run does not know."""
        dataset = read(data, task=self.task.name, label=label, group=group)
        unknown = sorted(set(dataset.class_names) - set(self.task.target.class_names))
        if unknown:
            raise DataError(
                f"{data}: classes that the run does not know: {', '.join(unknown[:10])}; it knows "
                f"{', '.join(self.task.target.class_names[:20])}; give the data the same names, or leave those out"
            )
        examples = [(example, self.task.target.load(example)) for example in dataset.examples]
        groups = {name: i for i, name in enumerate(dict.fromkeys(e.group for e, _ in examples if e.group))}
        units = [groups[e.group] if e.group else len(groups) + i for i, (e, _) in enumerate(examples)]
        loaded = [self.task.input.load(example.source) for example, _ in examples]
        predict = live_predictor(self.model, self.task, self._extract)
        return evaluate(predict, self.task.target, loaded, [label for _, label in examples], units)

    def export(self, out: str | Path | None = None) -> Path:
        """Write one ONNX file that takes a raw uint8 picture of any size; default RUN/model.onnx.

        Raises ExportError, and writes nothing, unless it agrees with the run on the run's own test pictures.
        """
        path = Path(out) if out is not None else self.folder / "model.onnx"
        raws = [self.task.input.load(file) for file in self._scored_files()[:_EXPORT_CHECKS]]
        card = {"task": self.card["task"], "run": self.folder.name, "weights_sha256": self.card["weights_sha256"]}
        export.export(self.model, self.task, card, raws, path, self._extract)
        return path

    def _scored_files(self) -> list[Path]:
        root = Path(self.card["data"]["path"])
        rows = bundle.load_rows(self.folder / bundle.PREDICTIONS)
        files = [root / row["file"] for row in rows]
        there = [file for file in files if file.is_file()]
        if not there:
            raise RunError(
                f"{self.folder}: none of its {len(files)} test files lies at {root} any more; the export cannot be "
                f"checked against the run; put the data back"
            )
        return there

    @cached_property
    def _extract(self) -> device.Runner | None:
        """The reference path on the backend that the run was scored with, where this machine has it."""
        if "reference" not in self.card["decisions"]:
            return None
        kept = device.Backend(**self.card["decisions"]["reference"])
        here = kept if kept.device == "cpu" and kept in device.candidates("cpu") else device.PLAIN
        example = self.model.stem(self.task.input.tensor(self.task.input.blank()))[0]
        return device.compile_frozen(Gathered(self.model.net, self.model.head), (_BATCH, *example.shape[1:]), here)


def _plan(
    dataset: Dataset, task: str, model: str | None, recipe: Recipe, size: int | None, folds: int | None, on: str | None
) -> Plan:
    row = tasks.TASKS[task]
    entry = nets.find(model or row.net)
    if size is not None and not 32 <= size <= 1024:
        raise UsageError(f"--size {size}: expected 32 to 1024")
    input = row.input().fit([example.source for example in dataset.examples], size)
    fitted = Task(task, input, row.target())
    recipe = replace(recipe, size=input.size)
    chosen = device.choose_device(on)
    return Plan(dataset, fitted, nets.pretrained(entry.name), entry.name, entry.digest, True, recipe, folds, chosen)


def _plan_json(plan: Plan, given: dict[str, str | None]) -> dict[str, object]:
    return {
        **given,
        "task": tasks.to_json(plan.task),
        "net": plan.net_name,
        "recipe": asdict(plan.recipe),
        "folds": plan.folds,
        "device": plan.device,
    }


def _finish(session: Session, watch: Watcher | None) -> Run:
    for step in session.steps():
        if watch is not None:
            watch(step)
    return load(session.folder)


def _run_name(data: Path) -> str:
    resolved = data.resolve()
    return (resolved.stem if resolved.is_file() else resolved.name) or "run"


