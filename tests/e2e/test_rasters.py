"""Rasters of any number of channels end to end: a net trained on them, killed, reloaded, exported and explained; and
what the command line says of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from typer.testing import CliRunner, Result

import foveal
from foveal import bundle, export, tasks
from foveal.cli import app
from foveal.contracts import Task
from foveal.engine import checkpoint
from foveal.engine.evaluate import evaluate
from foveal.engine.learners import HANDED_OVER
from foveal.engine.predict import live_predictor
from foveal.engine.reading import Plan
from foveal.engine.symmetric import sided
from foveal.explain.ledger import ledger
from foveal.model import Model
from foveal.recipe import Recipe
from foveal.run import read_data
from foveal.session import Session
from foveal.targets import Classes
from tests.toys import ToyNet

BANDS, TELLING = 5, 3
# Where the values of each band lie, and how far they spread: of very different kinds, as bands are.
PLACES = np.array([3000.0, 0.4, -20.0, 21_000.0, 7e-3])
SPREADS = np.array([700.0, 0.1, 6.0, 500.0, 2e-3])
COUNTS = {"train": 40, "test": 20}
SAME = (bundle.WEIGHTS, bundle.SPLITS, bundle.PREDICTIONS, bundle.METRICS)
Writer = Callable[[Path, np.ndarray], Path]


def scene(kind: int, rng: np.random.Generator) -> np.ndarray:
    """(H, W, 5) float64: stripes in every band; in band 3 they lie across (0) or stand (1), elsewhere at random."""
    height, width = int(rng.integers(40, 60)), int(rng.integers(45, 70))
    planes = []
    for band in range(BANDS):
        across = kind == 0 if band == TELLING else rng.random() < 0.5
        y, x = np.mgrid[:height, :width]
        waves = np.sin((y if across else x) / rng.uniform(1.5, 2.5) + rng.uniform(0, 6))
        planes.append(PLACES[band] + SPREADS[band] * (waves + rng.normal(0, 0.5, waves.shape)))
    return np.stack(planes, axis=2)


def array(path: Path, values: np.ndarray) -> Path:
    np.save(path.with_suffix(".npy"), values, allow_pickle=False)
    return path.with_suffix(".npy")


def planar(path: Path, values: np.ndarray) -> Path:
    """Bands before rows, as int16; the small ones in units of 1/10000."""
    scaled = (values * np.where(SPREADS < 1, 1e4, 1)).astype(np.int16).transpose(2, 0, 1)
    tifffile.imwrite(path.with_suffix(".tif"), scaled, photometric="minisblack", planarconfig="separate")
    return path.with_suffix(".tif")


def paged(path: Path, values: np.ndarray) -> Path:
    planes = values.astype(np.float32).transpose(2, 0, 1)
    tifffile.imwrite(path.with_suffix(".tiff"), planes, photometric="minisblack", compression="zlib")
    return path.with_suffix(".tiff")


WRITERS: dict[str, Writer] = {"npy": array, "tiff": planar, "pages": paged}


def write(root: Path, writer: Writer) -> Path:
    """root/train/across/0.npy and so on."""
    rng = np.random.default_rng(5)
    for part, count in COUNTS.items():
        for kind, name in enumerate(("across", "down")):
            (root / part / name).mkdir(parents=True)
            for number in range(count):
                writer(root / part / name / str(number), scene(kind, rng))
    return root


def toy(channels: int, seed: int) -> ToyNet:
    torch.manual_seed(seed)
    return ToyNet(2, inputs=channels)


def begin(data: Path, folder: Path) -> Session:
    """A run of a net built for the channels that the stem gives, trained by gradient."""
    dataset = read_data(data, "classify")
    sources = [example.source for example in dataset.examples]
    input = tasks.input_for("classify", sources)().fit(sources, 32)
    channels = input.stem()(input.tensor(input.blank()))[0].shape[1]
    recipe = Recipe(
        size=32, seed=1, epochs=20, batch_size=10, learning_rate=0.05, checkpoint_seconds=0.0, snapshot_steps=10
    )
    plan = Plan(dataset, Task("classify", input, Classes()), toy(channels, 1), "toy", "toy-1", False, recipe)
    folder.mkdir(exist_ok=True)
    state = checkpoint.load(folder) if any(folder.iterdir()) else None
    return Session(folder, plan, state)


@dataclass(frozen=True)
class Trained:
    """A finished run, and its model rebuilt from the run folder alone."""

    data: Path
    session: Session
    task: Task
    model: Model


@pytest.fixture(scope="module", params=list(WRITERS))
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    root = tmp_path_factory.mktemp(request.param)
    session = begin(write(root / "data", WRITERS[request.param]), root / "run")
    list(session.steps())
    card = bundle.load_card(session.folder)
    task = tasks.from_json(card["task"])
    model = Model(task, sided(toy(BANDS, 99), card["net"]["symmetric"]))
    model.load_state_dict(bundle.load_weights(session.folder, card))
    return Trained(root / "data", session, task, model.eval())


def test_it_learns_what_one_band_alone_shows(trained: Trained) -> None:
    accuracy = trained.session.outcome.scores.estimates["accuracy"]
    assert accuracy.n == 2 * COUNTS["test"]
    assert accuracy.value > 0.9


def test_without_that_band_there_is_nothing_to_learn(trained: Trained) -> None:
    """The telling band of each test file, exchanged for that of a file of the other class, turns the answer."""
    material, rows = trained.session.material, trained.session.outcome.rows
    by_kind = {kind: [row for row in rows if material.labels[row] == kind] for kind in (0, 1)}
    predict, turned = live_predictor(trained.model, trained.task), 0
    for one, other in zip(by_kind[0], by_kind[1], strict=True):
        first, second = (trained.task.input.load(material.examples[row].source) for row in (one, other))
        height, width = (min(a, b) for a, b in zip(first.shape[:2], second.shape[:2], strict=True))
        first, second = first[:height, :width].copy(), second[:height, :width]
        first[:, :, TELLING] = second[:, :, TELLING]
        turned += predict([first])[0].label == "down"
    assert turned > 0.9 * len(by_kind[0])


def test_reloaded_and_exported_say_the_same(trained: Trained, tmp_path: Path) -> None:
    task, model = trained.session.learner.model(HANDED_OVER)
    material, rows = trained.session.material, trained.session.outcome.rows
    raws = [trained.task.input.load(material.examples[row].source) for row in rows]
    assert export.export(trained.model, trained.task, {}, raws, tmp_path / "model.onnx") <= 1e-4
    exported = export.ExportedModel(tmp_path / "model.onnx")
    (entry,) = exported.session.get_inputs()
    assert entry.type == "tensor(float)"
    assert entry.shape == ["height", "width", BANDS]
    ways = (live_predictor(model, task), live_predictor(trained.model, trained.task), exported.predictor(task))
    labels, units = material.labels_of(rows), range(len(rows))
    found = [evaluate(way, task.target, raws, labels, units).estimates["accuracy"] for way in ways]
    assert found[0] == found[1] == found[2] == trained.session.outcome.scores.estimates["accuracy"]
    for raw in (raws[0][:1, :1], raws[0][:1], raws[1][:, :2], np.tile(raws[0], (6, 7, 1))):
        scores = np.array([way([np.ascontiguousarray(raw)])[0].scores for way in ways])
        assert float(np.ptp(scores, axis=0).max()) <= 1e-4


def test_its_explanations_add_up(trained: Trained) -> None:
    material = trained.session.material
    for row in trained.session.outcome.rows[:4]:
        found = ledger(trained.model, trained.task, trained.task.input.load(material.examples[row].source))
        assert found.exact
        total = found.bias + sum(float(level.sum(dtype=np.float64)) for level in found.cells)
        assert total == pytest.approx(found.score, abs=1e-4)


@pytest.mark.parametrize(("phase", "done"), [("read", 1), ("fit", 25)])
def test_killed_and_resumed_is_the_same_to_the_bit(trained: Trained, phase: str, done: int) -> None:
    if trained.session.plan.data.examples[0].source.suffix != ".npy":
        pytest.skip("once is enough: what follows the reading is the same")
    folder = trained.session.folder.with_name(f"again-{phase}")
    next(step for step in begin(trained.data, folder).steps() if step.phase == phase and step.done >= done)
    list(begin(trained.data, folder).steps())
    for file in SAME:
        assert (folder / file).read_bytes() == (trained.session.folder / file).read_bytes(), file


# At the command line.


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize("kind", list(WRITERS))
def test_check_says_how_it_reads_them(tmp_path: Path, kind: str) -> None:
    result = call("check", write(tmp_path / "data", WRITERS[kind]), "--json")
    assert result.exit_code == 0, result.stderr
    told = {finding["kind"]: finding["message"] for finding in json.loads(result.stdout)["findings"]}
    assert "rasters of 5 channels" in told["channels"]
    assert ("pages" in told) == (kind == "pages")


def test_a_net_of_three_channels_is_refused_in_words(tmp_path: Path) -> None:
    result = call("train", write(tmp_path / "data", array), "--model", "lite0", "--out", tmp_path / "run")
    assert result.exit_code == 2
    assert "lite0 takes 3 channels, the data have 5; use --model scratch" in " ".join(result.stderr.split())
    assert not (tmp_path / "run").exists()


def test_archives_are_refused_with_what_to_do(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(4):
            np.savez(tmp_path / "data" / name / f"{number}.npz", values=np.zeros((9, 9, 4)), allow_pickle=False)
    result = call("check", tmp_path / "data")
    assert result.exit_code == 3
    assert "save each of its arrays as a .npy file" in " ".join(result.stderr.split())


def test_pickled_arrays_are_never_opened(tmp_path: Path) -> None:
    """numpy would call what a pickle names; this one would make a folder."""

    class Trap:
        def __reduce__(self):
            return Path.mkdir, (tmp_path / "trapped",)

    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        np.save(tmp_path / "data" / name / "0.npy", np.array([Trap()], object), allow_pickle=True)
    result = call("check", tmp_path / "data")
    assert result.exit_code == 3
    assert "0.npy" in result.stderr
    assert not (tmp_path / "trapped").exists()


def test_arrays_and_pictures_together_are_refused(tmp_path: Path) -> None:
    data = write(tmp_path / "data", array)
    (data / "train" / "across" / "x.png").write_bytes(b"-")
    result = call("check", data)
    assert result.exit_code == 3
    assert "expected files of one kind" in result.stderr
    assert "x.png" in result.stderr


@pytest.mark.nightly
def test_three_bands_go_the_whole_way_with_the_pretrained_net(tmp_path: Path) -> None:
    """Floats of three channels fit it: trained, scored, predicted, explained and exported by the front door."""

    def telling(path: Path, values: np.ndarray) -> Path:
        return array(path, values[:, :, [TELLING] * 3] * (1, -0.01, 50))

    data = write(tmp_path / "data", telling)
    run = foveal.train(data, out=tmp_path / "run", size=64, minutes=0.1)
    assert run.test["accuracy"].value > 0.9
    file = data / "test" / "down" / "0.npy"
    assert run.explain(file, measured=False).exact
    (drawn,) = foveal.api.explain_files(run, [file], tmp_path / "why")
    assert Path(str(drawn["drawing"])).stat().st_size > 1000
    assert run.export().is_file()
    assert run.evaluate(data / "test").estimates["accuracy"] == run.test["accuracy"]
    (data / "other.npy").write_bytes((array(tmp_path / "five", np.zeros((9, 9, 5)))).read_bytes())
    result = call("predict", tmp_path / "run", file, data / "other.npy", "--json")
    assert "5 channels; expected 3" in result.stdout + result.stderr
