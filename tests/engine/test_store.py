"""Rows come back as they were put in, survive other processes' shards, and damaged shards only cost their rows."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.numpy import load_file

from foveal.engine.store import Store, store_name, trim


def key(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


@given(rows=st.lists(arrays(np.uint8, st.tuples(st.integers(0, 5), st.integers(1, 4))), min_size=1, max_size=6))
def test_rows_of_any_shape_come_back(rows: list[np.ndarray], tmp_path_factory) -> None:
    folder = tmp_path_factory.mktemp("store")
    Store(folder).add({key(str(i)): row for i, row in enumerate(rows)})
    opened = Store(folder)
    assert len(opened) == len(rows)
    for i, row in enumerate(rows):
        np.testing.assert_array_equal(opened[key(str(i))], row)


def test_floats_keep_their_bits(tmp_path: Path) -> None:
    row = np.array([1.5, -0.0, np.pi, 1e-42], np.float32)
    Store(tmp_path).add({key("a"): row})
    assert Store(tmp_path)[key("a")].tobytes() == row.tobytes()


def test_a_shard_is_a_file_that_other_programs_read(tmp_path: Path) -> None:
    rows = {key("a"): np.arange(6, dtype=np.float16).reshape(2, 3), key("b"): np.ones((1, 3), np.float16)}
    Store(tmp_path).add(rows)
    found = load_file(next(tmp_path.glob("*.safetensors")))
    np.testing.assert_array_equal(found["data"], np.concatenate([row.ravel() for row in rows.values()]))
    assert found["shape"].tolist() == [[2, 3], [1, 3]]
    assert found["key"].tobytes() == b"".join(rows)


def test_rows_of_one_shard_share_a_type_that_holds_them_all(tmp_path: Path) -> None:
    rows = {key("a"): np.arange(6, dtype=np.uint8), key("b"): np.array([0.5, 254.5], np.float16)}
    Store(tmp_path).add(rows)
    found = Store(tmp_path)
    assert all(np.array_equal(found[name], row) for name, row in rows.items())


def test_two_writers_share_a_folder(tmp_path: Path) -> None:
    one, other = Store(tmp_path), Store(tmp_path)
    one.add({key("a"): np.zeros(3, np.float32)})
    other.add({key("b"): np.ones(3, np.float32)})
    assert set(Store(tmp_path)) == {key("a"), key("b")}


def test_a_damaged_shard_costs_its_own_rows_only(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add({key("a"): np.zeros(3, np.float32)})
    first = next(tmp_path.glob("*.safetensors"))
    store.add({key("b"): np.ones(3, np.float32)})
    first.write_bytes(first.read_bytes()[:-4])
    assert set(Store(tmp_path)) == {key("b")}
    assert not first.exists()


def test_names_differ_where_anything_differs() -> None:
    assert store_name(net="a", size=1) == store_name(size=1, net="a")
    assert len({store_name(net="a", size=1), store_name(net="b", size=1), store_name(net="a", size=2)}) == 3


def test_trim_removes_the_longest_unused_first(tmp_path: Path) -> None:
    for age, name in enumerate(("new", "middle", "old")):
        folder = tmp_path / "features" / name
        Store(folder).add({key(name): np.zeros(1000, np.float32)})
        os.utime(folder, (1_000_000 - age, 1_000_000 - age))
    trim(tmp_path, limit_bytes=9000)
    assert {folder.name for folder in (tmp_path / "features").iterdir()} == {"new", "middle"}
    trim(tmp_path, limit_bytes=10)
    assert {folder.name for folder in (tmp_path / "features").iterdir()} == {"new"}
