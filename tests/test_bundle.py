"""A run folder refuses what is not what it was, in words, and never takes the place of another."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from foveal import bundle
from foveal.errors import FovealError, RunError

TENSORS = {"b.weight": torch.arange(12.0).reshape(3, 4).T, "a.count": torch.tensor(7), "c": torch.zeros(0, 3)}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """A folder with weights and card, and the card."""
    folder = tmp_path_factory.mktemp("bundle")
    card = {"format": bundle.FORMAT, "weights_sha256": bundle.save_weights(folder, TENSORS), "names": ["ä", "雪"]}
    bundle.save_card(folder, card)
    return folder, card


def test_round_trip(run: tuple[Path, dict]) -> None:
    folder, card = run
    assert bundle.load_card(folder) == card
    weights = bundle.load_weights(folder, card)
    assert weights.keys() == TENSORS.keys()
    assert all(torch.equal(weights[name], TENSORS[name]) for name in TENSORS)


@given(st.data())
def test_altered_weights_are_refused_with_both_digests(
    run: tuple[Path, dict], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = (run[0] / bundle.WEIGHTS).read_bytes()
    at, how = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(0, 255))
    damaged = whole[:at] if how == 0 else whole[:at] + bytes([whole[at] ^ how]) + whole[at + 1 :]
    folder = tmp_path_factory.mktemp("altered")
    (folder / bundle.WEIGHTS).write_bytes(damaged)
    with pytest.raises(RunError) as error:
        bundle.load_weights(folder, run[1])
    for named in (folder / bundle.WEIGHTS, run[1]["weights_sha256"], hashlib.sha256(damaged).hexdigest()):
        assert str(named) in str(error.value)


def test_missing_parts_are_named(tmp_path: Path, run: tuple[Path, dict]) -> None:
    with pytest.raises(RunError, match="foveal resume"):
        bundle.load_card(tmp_path)
    with pytest.raises(RunError, match=r"weights\.safetensors: missing"):
        bundle.load_weights(tmp_path, run[1])
    with pytest.raises(RunError, match=r"predictions\.csv: missing"):
        bundle.load_rows(tmp_path / bundle.PREDICTIONS)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "7", "{}", '"x"', "\ufeff{}", '{"format": 99}'])
def test_damaged_cards_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / bundle.CARD).write_text(text, encoding="utf-8")
    with pytest.raises(RunError) as error:
        bundle.load_card(tmp_path)
    assert str(tmp_path / bundle.CARD) in str(error.value)


def test_cards_that_are_not_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / bundle.CARD).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RunError, match=r"card\.json: damaged"):
        bundle.load_card(tmp_path)


def test_a_run_never_takes_the_place_of_another(tmp_path: Path) -> None:
    wanted = tmp_path / "runs" / "digits"
    names = [bundle.new_folder(wanted).name for _ in range(3)]
    assert names == ["digits", "digits-2", "digits-3"]
    (tmp_path / "runs" / "file").write_text("kept")
    assert bundle.new_folder(tmp_path / "runs" / "file").name == "file-2"
    assert (tmp_path / "runs" / "file").read_text() == "kept"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FovealError, match="--out") as error:
        bundle.new_folder(tmp_path / "file" / "run")
    assert str(tmp_path / "file" / "run") in str(error.value)


def test_rows_keep_every_character(tmp_path: Path) -> None:
    rows = [("a,b.png", 'say "cheese"', "ä\n雪"), ("", "0.5", "x")]
    bundle.save_rows(tmp_path / "rows.csv", ("file", "label", "note"), rows)
    assert [tuple(row.values()) for row in bundle.load_rows(tmp_path / "rows.csv")] == rows


def test_card_is_written_whole(tmp_path: Path) -> None:
    bundle.save_card(tmp_path, {"format": 1, "note": "ä" * 10_000})
    assert [file.name for file in tmp_path.iterdir()] == [bundle.CARD]
