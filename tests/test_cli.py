"""The command line as a person or a script meets it: its names, exit codes and streams."""

from __future__ import annotations

import base64
import csv
import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import typer
from PIL import Image as Pillow
from torch import nn
from typer.testing import CliRunner, Result

import foveal
from foveal import api, audit, console
from foveal.cli import app
from foveal.session import Session
from tests.conftest import Tiny
from tests.photos import listing
from tools.cli_help import PAGE, page

# The promise; it does not change within a major version.
FROZEN = """
foveal demo [TASK]
foveal convolve FILE --kernel K [--out HTML]
foveal check DATA
foveal plan DATA [--minutes M] [--device D]
foveal train DATA [--task T] [--out RUN] [--minutes M] [--size S] [--model NAME] [--label COL|REGEX] [--text COL]
    [--group COL|REGEX] [--folds K] [--fix CSV] [--seed N] [--device D]
foveal resume RUN
foveal eval RUN DATA
foveal predict RUN FILE... [--out DIR]
foveal explain RUN FILE... [--out DIR]
foveal audit RUN|MODEL.onnx [DATA] [--fail-under X]
foveal curve RUN
foveal suggest RUN DIR
foveal report RUN [--page]
foveal export RUN [--int8] [--max-drop P] [--out FILE]
foveal serve RUN [--port P]
"""
# Beyond the promise: without them, data whose labels are in their paths could be trained on, not checked or scored.
MORE = {"demo": "[--out RUN]", "check": "[--label COL|REGEX] [--group COL|REGEX]"}
MORE["eval"] = MORE["check"]
PLANNED = (
    "plan data", "curve run", "suggest run data", "serve run",
    "report run --page", "export run --int8", "export run --max-drop 1",
    "train data --fix a.csv",
)  # fmt: skip


def foveal_(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def one_json(result: Result) -> dict:
    """The only thing on stdout; raises AssertionError where there is anything else."""
    assert result.exit_code == 0, result.output
    assert result.stdout.count("\n") == 1, result.stdout
    return json.loads(result.stdout)


def documented_keys(command: str) -> set[str]:
    rows = re.findall(r"^\| ([a-z, ]+) \| (.+) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    keys = next(keys for names, keys in rows if command in names.split(", "))
    return set(re.sub(r"\(.*?\)|; .*", "", keys).replace(" ", "").split(","))


def spelled(command: str) -> set[str]:
    """`DATA [--out RUN]` as a set of arguments and options, each with its brackets."""
    options = set(re.findall(r"\[--[^\]]+\]|--\S+ \S+", command))
    for option in options:
        command = command.replace(option, "")
    return {" ".join(option.split()) for option in options} | set(command.split())


def offered(command: typer.core.TyperCommand) -> set[str]:
    found = set()
    for parameter in command.params:
        value = "" if parameter.metavar is None else f" {parameter.metavar}"
        name = f"{parameter.opts[0]}{value}" if parameter.param_type_name == "option" else parameter.metavar
        name = f"{name}..." if parameter.nargs == -1 else name
        found.add(str(name) if parameter.required else f"[{name}]")
    return found


def test_commands_and_options_are_frozen() -> None:
    promised = {}
    for line in FROZEN.replace("\n    ", " ").strip().splitlines():
        _, name, *rest = line.split(" ", 2)
        promised[name] = spelled(" ".join(rest)) | spelled(MORE.get(name, "")) | {"[--json]"}
    commands = typer.main.get_command(app).commands
    assert {name: offered(command) for name, command in commands.items()} == promised


def test_help_page_is_fresh() -> None:
    assert PAGE.read_text("utf-8") == page(), "stale; run: python -m tools.cli_help"


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['foveal', '--help']\nfrom foveal.cli import main\ntry:\n    main()\nfinally:\n"
        "    heavy = {'torch', 'numpy', 'PIL', 'openvino', 'sklearn'} & set(sys.modules)\n"
        "    print(sorted(heavy), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "train" in done.stdout


@pytest.mark.parametrize("command", PLANNED)
def test_planned_exits_2_and_says_so(command: str, tmp_path: Path, tiny: Tiny, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = foveal_(
        *(tiny.data if word == "data" else tiny.run if word == "run" else word for word in command.split())
    )
    assert (result.exit_code, result.stdout) == (2, "")
    assert "planned" in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("", "Usage"),
        ("paint", "paint"),
        ("train", "DATA"),
        ("train DATA --paint", "--paint"),
        ("train DATA --task paint", "classify"),
        ("train DATA --model paint", "lite0"),
        ("train DATA --model lite1", "pip install"),
        ("train DATA --device tpu", "cpu"),
        ("train DATA --size 8", "32 to 2048"),
        ("train DATA --size 4096", "32 to 2048"),
        ("train DATA --folds 1", "--folds"),
        ("train DATA --minutes 0", "--minutes"),
        ("train DATA --label ([a-z]", "regular expression"),
    ],
)
def test_usage_exits_2(arguments: str, expected: str, tiny: Tiny, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = foveal_(*(tiny.data if word == "DATA" else word for word in arguments.split()))
    assert result.exit_code == 2
    assert expected in result.output
    assert not list(tmp_path.iterdir()), "no run folder for a command that cannot run"


@pytest.mark.parametrize("command", ["resume", "report", "export", "predict", "explain", "audit", "eval"])
def test_no_run_exits_1(command: str, tiny: Tiny) -> None:
    rest = {
        "predict": [tiny.data / "rings" / "00.jpg"],
        "explain": [tiny.data / "rings" / "00.jpg"],
        "eval": [tiny.data],
    }
    result = foveal_(command, tiny.data, *rest.get(command, []))
    assert (result.exit_code, result.stdout) == (1, "")
    assert "expected a" in result.stderr
    assert str(tiny.data) in result.stderr


def test_train_never_overwrites(tiny: Tiny) -> None:
    before = listing(tiny.run)
    result = foveal_("train", tiny.data, "--out", tiny.run, "--json")
    found = one_json(result)
    assert set(found) == documented_keys("train")
    assert found["run"] == f"{tiny.run}-2"
    assert f"{tiny.run} exists; this run is {tiny.run}-2" in result.stderr
    assert "60 files in 3 classes" in result.stderr
    assert listing(tiny.run) == before


def test_interrupt_names_the_run_and_resume_finishes(tiny: Tiny, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "mine").mkdir()

    def stop(self: console.Watch, step) -> None:
        if step.phase == "learn":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(console.Watch, "__call__", stop)
        result = foveal_("train", tiny.data, "--out", tmp_path / "mine")
    assert result.exit_code == 130
    assert f"foveal resume {tmp_path / 'mine-2'}" in result.stderr
    early = foveal_("predict", tmp_path / "mine-2", tiny.data / "rings" / "00.jpg")
    assert early.exit_code == 1
    assert f"foveal resume {tmp_path / 'mine-2'}" in early.stderr
    resumed = foveal_("resume", tmp_path / "mine-2")
    assert resumed.exit_code == 0, resumed.output
    for begins in ("accuracy ", "always guessing ", "on seen examples ", "report ", "next "):
        assert f"\n{begins}" in f"\n{resumed.stdout}"
    found = one_json(foveal_("resume", tmp_path / "mine-2", "--json"))
    assert set(found) == documented_keys("resume"), "a finished run is only shown"


@pytest.mark.nightly
def test_told_to_end_it_ends_and_can_go_on(tiny: Tiny, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    command = [sys.executable, "-m", "foveal", "train", str(tiny.data), "--out", str(out)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as working:
        assert working.stderr is not None
        for line in working.stderr:
            if line.startswith("reading"):
                working.send_signal(signal.SIGTERM)
                break
        said = working.stderr.read()
    assert working.returncode == 143
    assert f"foveal resume {out}" in said
    assert foveal_("resume", out).exit_code == 0


def test_demo(tiny: Tiny, tmp_path: Path, monkeypatch) -> None:
    """All but the training, which `make demo` does."""
    monkeypatch.chdir(tmp_path)
    begun: list[Path] = []

    def finish(session: Session, watch: api.Watcher | None = None) -> foveal.Run:
        begun.append(session.folder)
        assert len(session.plan.data.examples) == 1797
        return foveal.load(tiny.run)

    monkeypatch.setattr(api, "finish", finish)
    assert set(one_json(foveal_("demo", "--json"))) == documented_keys("demo")
    assert begun == [Path("runs/demo")]


def test_check(tiny: Tiny) -> None:
    found = one_json(foveal_("check", tiny.data, "--json"))
    assert set(found) == documented_keys("check")
    assert (found["examples"], found["classes"]) == (60, ["checks", "rings", "stripes"])
    shown = foveal_("check", tiny.data)
    assert shown.exit_code == 0
    assert "60 files in 3 classes" in shown.stdout
    assert "nothing wrong was found" in shown.stdout


def test_eval(tiny: Tiny) -> None:
    found = one_json(foveal_("eval", tiny.run, tiny.data, "--json"))
    assert set(found) == documented_keys("eval")
    assert found["test"]["accuracy"]["value"] > 0.9
    assert found["distance"]["far"]["n"] == 60
    assert {row["name"] for row in found["recall"]} == {"checks", "rings", "stripes"}
    assert found["fell"] == []
    shown = foveal_("eval", tiny.run, tiny.data)
    assert re.match(r"accuracy +\d\.\d{3} \(", shown.stdout)
    assert "lie farther from the training examples than 99 % of the run's 60 test examples" in shown.stdout


def test_eval_says_what_was_learnt_from_and_what_cannot_be_read(tiny: Tiny, tmp_path: Path) -> None:
    mixed = tmp_path / "mixed"
    for name in ("checks", "rings"):
        (mixed / name).mkdir(parents=True)
        shutil.copy(tiny.data / name / "00.jpg", mixed / name / "renamed.jpg")
        Pillow.new("RGB", (64, 64), (9, 9, 9)).save(mixed / name / "new.png")
    (mixed / "rings" / "broken.jpg").write_bytes(b"no picture")
    result = foveal_("eval", tiny.run, mixed, "--json")
    found = one_json(result)
    assert found["learnt_from"] == 2
    assert "2 of these files were learnt from" in result.stderr
    assert found["test"]["accuracy"]["n"] == 4
    assert len(found["unreadable"]) == 1
    assert "broken.jpg" in found["unreadable"][0]


def test_predict_goes_on_past_a_file_that_cannot_be_read(tiny: Tiny, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    result = foveal_("predict", tiny.run, broken, tiny.data, tiny.data / "rings" / "00.jpg")
    assert result.exit_code == 3
    assert "rings" in result.stdout
    assert "2 of 3 files cannot be read" in result.stderr
    assert "broken.jpg" in result.stderr
    assert "a folder" in result.stderr


def test_predict(tiny: Tiny, tmp_path: Path) -> None:
    files = [tiny.data / "rings" / "00.jpg", tiny.data / "checks" / "01.jpg"]
    found = one_json(foveal_("predict", tiny.run, *files, "--json"))
    assert set(found) == documented_keys("predict") - {"written"}
    assert [row["label"] for row in found["predictions"]] == ["rings", "checks"]
    for name in ("predictions.csv", "predictions-2.csv"):
        assert foveal_("predict", tiny.run, *files, "--out", tmp_path).stderr == f"written to {tmp_path / name}\n"
        rows = list(csv.DictReader((tmp_path / name).read_text("utf-8").splitlines()))
        assert [row["predicted"] for row in rows] == ["rings", "checks"]
    one_json(foveal_("predict", tiny.run, *files, "--out", tmp_path, "--json"))


def test_explain(tiny: Tiny, tmp_path: Path) -> None:
    found = one_json(foveal_("explain", tiny.run, tiny.data / "rings" / "00.jpg", "--out", tmp_path, "--json"))
    assert set(found) == documented_keys("explain")
    row = found["explanations"][0]
    assert row["exact"]
    assert row["verdict"] in ("supported", "weak", "unsupported")
    assert row["faithfulness"]["in_words"].startswith(row["verdict"])
    assert np.asarray(row["erased"]).shape == (1, 7, 7)
    assert [one["label"] for one in row["neighbours"]] == ["rings"] * 5
    assert str(tiny.data / "rings" / "00.jpg") not in [one["file"] for one in row["neighbours"]]
    assert row["nearest_other"]["label"] != "rings"
    assert 1 > row["neighbours"][0]["alike"] > row["nearest_other"]["alike"]
    assert row["score"] == pytest.approx(row["bias"] + row["cells"], abs=1e-3)
    assert Path(row["drawing"]).is_file()
    assert row["best_method"] is None  # it was not audited
    shown = foveal_("explain", tiny.run, tiny.data / "rings" / "00.jpg", "--out", tmp_path)
    assert str(tmp_path / "00.why-2.png") in shown.stdout
    assert f"\n  {row['faithfulness']['in_words']}\n  most like " in shown.stdout


def test_words_are_coloured_at_a_terminal_only(monkeypatch) -> None:
    words = [("good", 2.0), ("but", 0.01), ("dull", -1.9)]
    assert console.word_lines(words) == ["  good +2.00, dull -1.90, but +0.01"]
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured, said = console.word_lines(words)
    assert coloured == "  \033[30;48;5;208mgood\033[0m but \033[4;30;48;5;75mdull\033[0m"
    assert said == "  good +2.00, dull -1.90, but +0.01"
    monkeypatch.setenv("NO_COLOR", "1")
    assert console.word_lines(words) == [said]


def test_audit(tiny: Tiny, tmp_path: Path, monkeypatch) -> None:
    """Of small pictures and few of them, or it would take minutes."""
    for name, count in {
        "_MOST_SURVEYED": 8,
        "_SLOPED": 3,
        "_LEARNT": 60,
        "_UNSEEN": 24,
        "_UNTAUGHT": 4,
        "_LOOKED_INTO": 8,
    }.items():
        monkeypatch.setattr(audit, name, count)
    run = tmp_path / "run"
    one_json(foveal_("train", tiny.data, "--size", 64, "--out", run, "--json"))
    result = foveal_("audit", run, tiny.data, "--fail-under", "2", "--json")
    assert result.exit_code == 1
    assert "less than --fail-under 2" in result.stderr
    found = json.loads(result.stdout)
    assert set(found) == documented_keys("audit")
    assert json.loads((run / "faithfulness.json").read_text()) == found
    assert set(found["methods"]) == {"ledger", "occlusion", "gradients"}
    assert set(found["rivals"]) == {"middle", "edges"}
    assert set(found["shortcuts"]) == {"patch", "stripe", "tint"}
    for own in found["methods"].values():
        assert own["gain"]["low"] < own["gain"]["value"] < own["gain"]["high"]
    planted = [trial for trials in found["shortcuts"].values() for trial in trials if trial["proved"]]
    assert planted, "a mark that all stamped examples share is learnt"
    assert all(trial["flipped"]["control"] <= 0.05 <= 0.8 <= trial["flipped"]["copy"] for trial in planted)
    assert not any("methods" in trial for trial in found["shortcuts"]["tint"])
    page = (run / "report.html").read_text("utf-8")
    assert "Would it have told you of a shortcut?" in page
    assert api.load(run).best_method == found["best"]
    told = console.best_lines(found["best"])
    assert (found["best"] == "ledger") == (not told)
    inside = json.loads((run / "inside.json").read_text())
    assert len(inside["channels"]) == 12
    assert len(inside["cues"]) + 12 == page.count('class="card channel"')
    assert set(inside["channels"][0]["classes"]) == set(api.load(run).task.target.class_names)
    assert len(inside["fields"]) == len(inside["figures"]) == len(inside["untaught"]) == 8
    lines = console.audit_lines(found)
    assert lines[0] == f"explanations     {found['examples']} examples of these data"
    assert lines[1].startswith("  ledger         gain ")
    assert sum(line.startswith("planted ") for line in lines) == 9


def test_report(tiny: Tiny) -> None:
    found = one_json(foveal_("report", tiny.run, "--json"))
    assert set(found) == documented_keys("report")
    assert Path(found["report"]).stat().st_size > 10_000


def test_convolve(tiny: Tiny, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    picture = tiny.data / "rings" / "00.jpg"
    found = one_json(foveal_("convolve", picture, "--kernel", "sobel", "--json"))
    assert set(found) == documented_keys("convolve")
    assert (found["page"], found["shapes"]["map"]) == ("00.convolve.html", [62, 62])
    example = found["example"]
    assert example["value"] == sum(map(sum, example["products"])) in (found["minimum"], found["maximum"])
    shown = foveal_("convolve", picture, "--kernel", "sobel")
    assert shown.exit_code == 0
    assert re.search(r"^largest  at \d+, \d+: (\d+·\(?-?\d\)? \+ ){8}\d+·1 = -?\d+$", shown.stdout, re.MULTILINE), (
        shown.stdout
    )
    assert "page     00.convolve-2.html\n" in shown.stdout
    assert Path("00.convolve-2.html").read_bytes() == Path("00.convolve.html").read_bytes()
    refused = foveal_("convolve", picture, "--kernel", "sobel", "--out", "00.convolve.html")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "00.convolve.html: exists, and nothing is overwritten" in refused.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00.convolve-2.html", "00.convolve.html"]


def test_convolve_sounds_and_signals(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    soundfile.write("a.wav", [0.0, 0.25, 0.75, 0.5, 0.5], 8000, subtype="DOUBLE")
    Path("a.csv").write_text("3\n1\n4\n1\n5\n")
    Path("k.csv").write_text("1,0,-1")
    shown = foveal_("convolve", "a.wav", "--kernel", "sobel", "--out", "wav.html")
    assert "input    5 values at 8,000 samples a second\n" in shown.stdout
    assert "largest  at 0: 0·(-1) + 0.25·0 + 0.75·1 = 0.75\n" in shown.stdout
    assert Path("wav.html").is_file()
    shown = foveal_("convolve", "a.csv", "--kernel", "k.csv")
    assert "map      3 values, from -1 to 0\n" in shown.stdout
    for arguments, code, expected in (
        (("none.wav", "--kernel", "sobel"), 3, "none.wav: no such file"),
        (("a.csv", "--kernel", "nope"), 2, "sobel, scharr, gauss, sharpen"),
        (("a.csv", "--kernel", "none:0:0"), 1, "none: no card.json"),
        (("a.csv", "--kernel", "sobel", "--out", "none/a.html"), 1, "expected a file in a folder that exists"),
    ):
        result = foveal_("convolve", *arguments)
        assert (result.exit_code, result.stdout) == (code, "")
        assert expected in result.stderr
    assert sorted(path.name for path in tmp_path.glob("*.html")) == ["a.convolve.html", "wav.html"]


@pytest.mark.parametrize("layer", [0, 4, 8])
def test_convolve_with_a_kernel_of_a_run(layer: int, tiny: Tiny, tmp_path: Path) -> None:
    """The map on the page is what that layer gives for that channel when the run predicts."""
    picture, out = tiny.data / "rings" / "00.jpg", tmp_path / "a.html"
    found = one_json(foveal_("convolve", picture, "--kernel", f"{tiny.run}:{layer}:7", "--out", out, "--json"))
    run = foveal.load(tiny.run)
    given: list[Any] = []
    convolutions = [module for module in run.model.net.modules() if isinstance(module, nn.Conv2d)]
    with torch.no_grad():
        handle = convolutions[layer].register_forward_hook(lambda module, inputs, result: given.append(result))
        run.model(run.task.input.tensor(run.task.input.load(picture)))
        handle.remove()
    expected = given[0][0, 7].numpy()
    packed = json.loads(out.read_text("utf-8").split('id="data">')[1].split("</script>")[0])["map"]
    shown = np.frombuffer(base64.b64decode(packed["data"]), f"<f{packed['bits'] // 8}").reshape(packed["shape"][1:])
    np.testing.assert_allclose(shown, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    assert found["shapes"]["map"] == list(expected.shape)
    assert found["maximum"] == shown.max()
    for wrong, message in ((f"{tiny.run}:99:0", "49 convolutions"), (f"{tiny.run}:0:32", "has 32, numbered from 0")):
        refused = foveal_("convolve", picture, "--kernel", wrong, "--out", tmp_path / "b.html")
        assert refused.exit_code == 2
        assert message in refused.stderr


def test_nothing_touches_the_data(tiny: Tiny, tmp_path: Path) -> None:
    """Trained in the fixture; here predicted, explained, exported and checked."""
    picture = tiny.data / "rings" / "00.jpg"
    found = one_json(foveal_("export", tiny.run, "--out", tmp_path / "model.onnx", "--json"))
    assert set(found) == documented_keys("export")
    assert found["checked"] == 60
    assert found["largest_difference"] < 1e-4
    for command in (("predict", tiny.run, picture), ("explain", tiny.run, picture), ("check", tiny.data)):
        out = ("--out", tmp_path) if command[0] != "check" else ()
        assert foveal_(*command, *out).exit_code == 0
    assert listing(tiny.data) == tiny.before


def test_altered_weights_are_refused(tiny: Tiny, tmp_path: Path) -> None:
    run = shutil.copytree(tiny.run, tmp_path / "run")
    weights = run / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    for command in (("predict", run, tiny.data / "rings" / "00.jpg"), ("export", run)):
        result = foveal_(*command)
        assert (result.exit_code, result.stdout) == (1, "")
        assert f"{weights}: altered" in result.stderr
    assert not (run / "model.onnx").exists()


def test_unwritable_output(tiny: Tiny, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    below, picture = tmp_path / "file" / "x", tiny.data / "rings" / "00.jpg"
    for command in (("train", tiny.data), ("predict", tiny.run, picture), ("explain", tiny.run, picture)):
        result = foveal_(*command, "--out", below)
        assert (result.exit_code, result.stdout) == (1, "")
        assert f"{below}: cannot be created" in result.stderr
        assert "--out" in result.stderr
    result = foveal_("export", tiny.run, "--out", below)
    assert result.exit_code == 1
    assert f"{below}: expected a file in a folder that exists" in result.stderr
