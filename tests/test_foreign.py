"""Networks that foveal did not train: how they want to be asked is found, and they are audited by passes alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image as Pillow
from typer.testing import CliRunner

from foveal import api
from foveal.cli import app
from foveal.errors import RunError, UsageError
from foveal.foreign import Foreign
from tests.conftest import Tiny

NAMES, COUNT = ("bright", "dark", "middling"), 12
SIDE = 56


def write_data(root: Path) -> Path:
    """Noisy gray pictures, redder or bluer, that differ in how bright they are, and in red more than in blue."""
    dice = np.random.default_rng(0)
    for name, (low, high) in zip(NAMES, ((0.75, 0.95), (0.05, 0.25), (0.42, 0.58)), strict=True):
        (root / name).mkdir(parents=True)
        for number in range(COUNT):
            red, blue = dice.uniform(low, high), dice.uniform(0.05, 0.95)
            pixels = np.zeros((60, 70, 3))
            pixels[:] = 255 * np.array([red, 0.5, blue])
            pixels += dice.normal(0, 12, pixels.shape)
            Pillow.fromarray(np.rint(pixels.clip(0, 255)).astype(np.uint8)).save(root / name / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("foreign") / "data")


def write_net(
    path: Path,
    *,
    rows: int | str = "N",
    last: bool = False,
    sums: bool = False,
    blue_first: bool = False,
    centre: float = 0.0,
    spread: float = 255.0,
    names: str | None = None,
    order: Sequence[int] = (0, 1, 2),
    sides: tuple[int, int] = (SIDE, SIDE),
) -> Path:
    """Three classes by the mean of red alone, values being less `centre` by `spread`."""
    slopes, levels = np.array([20.0, 0.0, 10.0]) * spread / 255, np.array([-20 * 0.5, 0.0, -10 * 0.33])
    levels += np.array([20.0, 0.0, 10.0]) * centre / 255
    weight = np.zeros((3, 3), np.float32)
    weight[2 if blue_first else 0] = slopes[list(order)]
    shape = [rows, *sides, 3] if last else [rows, 3, *sides]
    nodes = [
        helper.make_node("ReduceMean", ["x", "axes"], ["mean"], keepdims=0),
        helper.make_node("Gemm", ["mean", "weight", "bias"], ["logits"]),
        *([helper.make_node("Softmax", ["logits"], ["sure"], axis=1)] if sums else []),
    ]
    given = [
        numpy_helper.from_array(np.array([1, 2] if last else [2, 3]), "axes"),
        numpy_helper.from_array(weight, "weight"),
        numpy_helper.from_array(levels[list(order)].astype(np.float32), "bias"),
    ]
    output = "sure" if sums else "logits"
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [rows, 3])],
        given,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    if names is not None:
        helper.set_model_props(model, {"names": names})
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(
    ("options", "way"),
    [
        ({}, "values from 0 to 1, red, green, blue"),
        ({"blue_first": True, "last": True}, "values from 0 to 1, blue, green, red"),
        ({"rows": 1, "sums": True, "centre": 127.5, "spread": 127.5}, "values from -1 to 1, red, green, blue"),
        ({"rows": 4, "spread": 1.0}, "values from 0 to 255, red, green, blue"),
    ],
)
def test_how_it_wants_to_be_asked_is_found(data: Path, tmp_path: Path, options: dict, way: str) -> None:
    found = api.audit(write_net(tmp_path / "net.onnx", **options), data)
    assert found["asked"][0] == {"way": way, "right": 1.0}
    assert found["asked"][1]["right"] < 1
    assert found["test"]["accuracy"]["value"] == 1
    assert found["test"]["accuracy"]["n"] == found["examples"] == 2 * COUNT
    assert set(found["methods"]) == {"occlusion"}
    # It hangs on red, wherever that is: every cell tells the same, and their order nothing.
    assert abs(found["methods"]["occlusion"]["gain"]["value"]) < 0.1
    assert found["shuffled"]["2"]["value"] == found["shuffled"]["4"]["value"] == 1
    assert len(found["tolerance"]["disturbances"]) > 5


@pytest.mark.parametrize(
    "names",
    [
        "{0: 'dark', 1: 'middling', 2: 'bright'}",
        "{'bright': 2, 'dark': 0, 'middling': 1}",
        "['dark', 'middling', 'bright']",
    ],
)
def test_names_in_the_file_say_which_output_is_which(data: Path, tmp_path: Path, names: str) -> None:
    found = api.audit(write_net(tmp_path / "net.onnx", names=names, order=(1, 2, 0)), data)
    assert found["test"]["accuracy"]["value"] == 1


def test_what_foveal_exported_says_what_the_run_says(tiny: Tiny, tmp_path: Path) -> None:
    run = api.load(tiny.run)
    file = run.export(tmp_path / "tiny.onnx")
    examples = run.examples()["test"] or run.examples()["train"]
    own = Foreign(file, run.task.target.class_names, run.task.name)
    assert own.task.input.shape() == run.task.input.shape()
    for example in examples[:6]:
        raw = run.task.input.load(example.source)
        x, _ = own.task.input.seen(raw, own.model.stem)
        sure = own.logits(x).softmax(1)[0].numpy()
        assert np.abs(sure - run.predict(example.source).scores).max() < 0.02  # pixels are rounded on their way


def test_at_the_command_line(data: Path, tmp_path: Path) -> None:
    file = write_net(tmp_path / "net.onnx")
    result = CliRunner().invoke(app, ["audit", str(file), str(data)])
    assert result.exit_code == 0, result.output
    assert "asked with       values from 0 to 1, red, green, blue: 100% of a few are right" in result.stdout
    assert "accuracy         1.000 (" in result.stdout
    assert "tolerance        It " in result.stdout
    assert CliRunner().invoke(app, ["audit", str(file), str(data), "--fail-under", "0.9"]).exit_code == 1
    assert CliRunner().invoke(app, ["audit", str(file)]).exit_code == 2


def test_what_cannot_be_audited_says_why(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"3 classes apart \(a, b, c\), the data have 3 \(bright, dark, middling\)"):
        api.audit(write_net(tmp_path / "other.onnx", names="['a', 'b', 'c']"), data)
    (tmp_path / "no.onnx").write_text("nothing")
    with pytest.raises(RunError, match="not an ONNX file that can be run"):
        api.audit(tmp_path / "no.onnx", data)
    oblong = write_net(tmp_path / "oblong.onnx", sides=(SIDE, 2 * SIDE))
    with pytest.raises(RunError, match="expected square pictures"):
        api.audit(oblong, data)
    with pytest.raises(RunError, match="no such file"):
        api.audit(tmp_path / "missing.onnx", data)
    (tmp_path / "texts.csv").write_text("text,label\n" + "".join(f"word {n} here,{n % 2}\n" for n in range(20)))
    with pytest.raises(UsageError, match="audited on labelled pictures"):
        api.audit(write_net(tmp_path / "net.onnx"), tmp_path / "texts.csv")
