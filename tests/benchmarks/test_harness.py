"""The benchmark harness: resplits, the table between its markers, and what a measured process yields."""

from __future__ import annotations

import csv
import importlib
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import benchmarks
from benchmarks import __main__ as cli
from benchmarks import _table
from benchmarks._data import DataAbsentError, Row, few, redraw, resplit, shared, write_table
from benchmarks._measure import Command, CommandFailedError, measure, surroundings
from benchmarks._peers import write_boxes
from benchmarks._programs import Benchmark, Metric, Program
from benchmarks._suite import BENCHMARKS, find
from foveal.run import read_data
from tests.scenes import write_scenes

MACHINE = {
    "cpu": "Some CPU", "model": "6 207 2", "system": "Linux x86_64", "cores": 2, "memory_gib": 24,
    "avx512_bf16": False, "amx": False,
}  # fmt: skip


def rows_and_digests() -> tuple[list[Row], dict[str, str]]:
    """90 pictures of 3 classes; a0 = b0 and a1 = c1 = c2 by bytes, across labels and splits."""
    splits = ["train"] * 20 + ["val"] * 4 + ["test"] * 6
    rows = [Row(f"{label}{i}.jpg", label, split) for label in "abc" for i, split in enumerate(splits)]
    digests = {row.file: row.file for row in rows}
    digests |= {"b0.jpg": "a0.jpg", "c1.jpg": "a1.jpg", "c2.jpg": "a1.jpg"}
    return rows, digests


@pytest.mark.parametrize("seed", range(20))
def test_resplit_keeps_counts_and_duplicates_together(seed: int) -> None:
    rows, digests = rows_and_digests()
    drawn = redraw(rows, digests, seed)
    assert [row.file for row in drawn] == [row.file for row in rows]
    assert Counter((r.label, r.split) for r in drawn) == Counter((r.label, r.split) for r in rows)
    split = {row.file: row.split for row in drawn}
    assert split["a0.jpg"] == split["b0.jpg"]
    assert split["a1.jpg"] == split["c1.jpg"] == split["c2.jpg"]


def test_resplit_depends_on_the_seed_alone() -> None:
    rows, digests = rows_and_digests()
    drawn = redraw(rows, digests, 1)
    assert sorted(redraw(rows[::-1], digests, 1)) == sorted(drawn)
    assert redraw(rows, digests, 2) != drawn != rows


def test_resplit_moves_duplicates_too() -> None:
    rows, digests = rows_and_digests()
    where = Counter(redraw(rows, digests, seed)[0].split for seed in range(200))
    assert where["train"] / 200 == pytest.approx(20 / 30, abs=0.12)


def test_resplit_of_a_table_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "trashnet-150"
    root.mkdir()
    rows, digests = rows_and_digests()
    for row in rows:
        (root / row.file).write_text(digests[row.file])
    write_table(rows, root / "labels.csv")
    monkeypatch.setenv("FOVEAL_SHARED", str(tmp_path))
    table = resplit("trashnet-150", 1, tmp_path)
    with table.open(newline="") as file:
        found = [Row(**row) for row in csv.DictReader(file)]
    assert all(Path(row.file).is_absolute() and Path(row.file).is_file() for row in found)
    assert [row.split for row in found] == [row.split for row in redraw(
        [row._replace(file=str(root / row.file)) for row in rows],
        {str(root / row.file): digests[row.file] for row in rows}, 1)]  # fmt: skip
    with few(table, 2, tmp_path / "few.csv").open(newline="") as file:
        counts = Counter((row["label"], row["split"]) for row in csv.DictReader(file))
    assert set(counts.values()) == {2} and len(counts) == 9


def test_peers_get_the_same_boxes(tmp_path: Path) -> None:
    data = write_scenes(tmp_path / "scenes", {"train": 3, "val": 2, "test": 2})
    copied = write_boxes(data, tmp_path / "copy")
    ours, theirs = read_data(data, None), read_data(copied / "yolo", None)
    assert ours.class_names == theirs.class_names
    for mine, other in zip(ours.examples, theirs.examples, strict=True):
        assert (mine.split, mine.source.read_bytes()) == (other.split, other.source.read_bytes())
        assert [box.label for box in mine.label] == [box.label for box in other.label]
        corners = [[(box.left, box.top, box.right, box.bottom) for box in side.label] for side in (mine, other)]
        assert np.allclose(*corners, atol=1e-3)
    truth = json.loads((copied / "test.json").read_text())
    assert len(truth["annotations"]) == sum(len(one.label) for one in ours.examples if one.split == "test")
    assert truth["annotations"][0]["category_id"] in {row["id"] for row in truth["categories"]}


def test_absent_data_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOVEAL_SHARED", str(tmp_path))
    with pytest.raises(DataAbsentError, match="no-such-set"):
        shared("no-such-set")


def test_the_real_resplit(shared, tmp_path: Path) -> None:
    shared("trashnet-150")
    with resplit("trashnet-150", 3, tmp_path).open(newline="") as file:
        rows = [Row(**row) for row in csv.DictReader(file)]
    assert Counter(row.split for row in rows) == {"train": 1768, "val": 328, "test": 431}
    split = {Path(row.file).name: row.split for row in rows}
    for one, other in (("glass389", "plastic332"), ("glass115", "metal91"), ("glass176", "plastic152")):
        assert split[f"{one}.jpg"] == split[f"{other}.jpg"]


WALL = Metric("wall time", ("wall_seconds",), "s", digits=3, at_most=60)
SCORE = Metric("accuracy", ("printed", "accuracy"), "%", 100, digits=3, mean=True, at_least=91)
TOY = Benchmark("toy", "A toy.", (1, 2), (Program("foveal", None, (SCORE, WALL)),))  # type: ignore[arg-type]


def record(seed: int, seconds: float, accuracy: float = 0.9, **changed: object) -> dict[str, object]:
    return {
        "benchmark": "toy", "program": "foveal", "seed": seed, "date": "2026-11-22T00:00:00+00:00", "commit": "abc",
        "machine": MACHINE, "versions": {"torch": "2"}, "command": f"run --seed {seed}", "wall_seconds": seconds,
        "peak_mb": 5, "load_before": 0.0, "printed": {"accuracy": accuracy}, **changed,
    }  # fmt: skip


@pytest.mark.parametrize("count", [2, 3, 4, 7])
def test_summaries_are_those_of_numpy(count: int) -> None:
    draw = np.random.default_rng(count)
    seconds, accuracies = draw.uniform(40, 60, count), draw.uniform(0.88, 0.94, count)
    records = [record(i, float(s), float(a)) for i, (s, a) in enumerate(zip(seconds, accuracies, strict=True))]
    expected = f"{np.median(seconds):.3f} s ({seconds.min():.3f}–{seconds.max():.3f})"
    assert _table.summarise(WALL, records) == expected
    error = 100 * accuracies.std(ddof=1) / np.sqrt(count)
    assert _table.summarise(SCORE, records) == f"{100 * accuracies.mean():.3f} ± {error:.3f} %"


def test_one_run_has_no_spread() -> None:
    assert _table.summarise(WALL, [record(1, 50)]) == "50.000 s"
    assert _table.summarise(SCORE, [record(1, 50)]) == "90.000 %"


def test_the_newest_run_of_each_seed_at_the_newest_commit_counts() -> None:
    old = [record(1, 10, commit="old"), record(3, 10, commit="old")]
    records = [*old, record(1, 20), record(2, 30), record(1, 40), record(1, 1, program="fastai")]
    found = _table.current(records, "toy", "foveal", MACHINE)
    assert [(r["seed"], r["wall_seconds"]) for r in found] == [(1, 40), (2, 30)]


def test_the_table_says_what_was_met_and_how_it_was_measured() -> None:
    text = _table.render([record(1, 50, 0.95), record(2, 70, 0.85)], [TOY])
    assert "| foveal | 90.000 ± 5.000 %, **not met** | 60.000 s (50.000–70.000), met | 2 |" in text
    assert "Target: accuracy ≥ 91 %, wall time ≤ 60 s." in text
    assert "`run --seed 1`; seeds 1, 2; 2026-11-22, commit abc; torch 2." in text
    assert "Some CPU (6 207 2), 2 cores, 24 GiB, Linux x86_64, neither avx512_bf16 nor amx" in text
    assert "Not measured yet." in _table.render([], [TOY])


def test_the_table_names_the_backends() -> None:
    printed = {"accuracy": 0.9, "fastest": {"backend": "openvino float32 on cpu"}}
    assert "torch 2; fastest: openvino float32 on cpu." in _table.render([record(1, 50, printed=printed)], [TOY])


def test_peers_stand_beside_foveal_on_the_same_seeds() -> None:
    scores = {"accuracy": {"value": 0.9}, "macro_f1": {"value": 0.9}}
    ours = [record(s, 50 + s, benchmark="trashnet", printed={"test": scores}) for s in (1, 2, 3)]
    peers = [record(s, 500 + 10 * s, benchmark="peers", program="fastai") for s in (1, 2)]
    benchmark = find("peers")
    assert benchmark is not None
    text = _table.render([*ours, *peers], [benchmark])
    assert f"{515 / 51.5:.1f} ×, met" in text
    assert "| foveal | 90.0 ± 0.0 % | 51.5 s (51.0–52.0) " in text.replace(", met", "").replace(", **not met**", "")


def test_the_page_is_made_and_text_outside_the_markers_kept(tmp_path: Path) -> None:
    page = tmp_path / "docs" / "benchmarks.md"
    _table.rewrite(page, [record(1, 50)], [TOY])
    first = page.read_text()
    assert first.startswith("# Benchmarks") and "50.000 s" in first
    page.write_text(f"mine above\n{first}\nmine below\n")
    _table.rewrite(page, [record(1, 70)], [TOY])
    second = page.read_text()
    assert second.startswith("mine above\n# Benchmarks") and second.endswith("\nmine below\n")
    assert "50.000 s" not in second and "70.000 s" in second
    _table.rewrite(page, [record(1, 70)], [TOY])
    assert page.read_text() == second
    page.write_text("only mine\n")
    _table.rewrite(page, [record(1, 70)], [TOY])
    assert page.read_text().startswith("only mine\n\n<!--")


def test_every_benchmark_has_a_target_and_a_description() -> None:
    names = [benchmark.name for benchmark in BENCHMARKS]
    assert names == [
        "trashnet", "trashnet-15", "sign-language", "sign-language-3", "cifar", "cifar-5000", "bccd", "rbc-coco",
        "bccd-15", "bccd-60", "rbc-coco-20", "large-scenes", "membrane", "membrane-60", "frames-bccd",
        "frames-membrane", "spoken", "unknown-speakers-1", "unknown-speakers-5", "trec", "banking77", "trec-glove",
        "sms-spam", "series-gunpoint", "series-arrowhead", "series-italypowerdemand", "series-osuleaf",
        "frozen-pass", "erasing", "faithful-trashnet-150", "faithful-bccd", "verdicts-trec",
        "verdicts-italypowerdemand", "verdicts-gunpoint", "planted-trashnet-150", "planted-bccd",
        "planted-membrane", "detail", "erase-training-sign-language-digits", "erase-training-trashnet-150",
        "erase-training-trec", "demo", "demo-detect", "demo-segment", "peers", "box-peers", "mask-peers",
    ]  # fmt: skip
    for benchmark in BENCHMARKS:
        assert benchmark.description and benchmark.seeds and benchmark.programs
        assert _table.targets(benchmark)
        assert benchmark.beside is None or find(benchmark.beside) is not None
        columns = [[metric.name for metric in program.metrics] for program in benchmark.programs]
        assert all(column == columns[0] for column in columns)


def test_a_command_is_measured(tmp_path: Path) -> None:
    code = "import os; print('noise'); print('{\"value\": ' + os.environ['ANSWER'] + '}')"
    found = measure(Command([sys.executable, "-c", code], "python -c", tmp_path, {"ANSWER": "42"}))
    assert found["printed"] == {"value": 42} and found["command"] == "python -c"
    assert 0 < float(str(found["wall_seconds"])) < 30 and int(str(found["peak_mb"])) >= 1
    assert surroundings()["machine"].keys() == MACHINE.keys()  # type: ignore[attr-defined]


@pytest.mark.parametrize(("code", "told"), [("raise SystemExit('no luck')", "no luck"), ("print(1)", "expected one")])
def test_a_failed_command_is_told(code: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(CommandFailedError, match=told):
        measure(Command([sys.executable, "-c", code], "python -c", tmp_path))


def test_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    def prepare() -> None:
        raise DataAbsentError("data set 'toy' is not here")

    code = "print('{\"accuracy\": 0.95}')"
    program = Program("foveal", lambda case: Command([sys.executable, "-c", code], "toy", case.folder), (SCORE, WALL))
    absent = Benchmark("absent", "Not here.", (1,), (program,), prepare=prepare)
    monkeypatch.setattr(cli, "BENCHMARKS", (Benchmark("toy", "A toy.", (1,), (program,)), absent))
    monkeypatch.setattr(cli, "ROOT", tmp_path)
    monkeypatch.setattr(cli, "RESULTS", tmp_path / "results.jsonl")
    monkeypatch.setattr(cli, "PAGE", tmp_path / "benchmarks.md")
    assert cli.main(["--seeds", "2"]) == 0
    assert [r["seed"] for r in _table.load(tmp_path / "results.jsonl")] == [1, 2]
    assert "95.000 ± 0.000 %, met" in (tmp_path / "benchmarks.md").read_text()
    assert "skipped absent: data set 'toy' is not here" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        cli.main(["no-such-benchmark"])


@pytest.mark.parametrize("name", sorted(path.stem for path in Path(benchmarks.__file__).parent.glob("*.py")))
def test_every_program_can_be_imported(name: str) -> None:
    """They take minutes to run, so what they take from foveal would otherwise be missed first by a person."""
    importlib.import_module(f"benchmarks.{name}")
