"""Damage in a cache costs rows, never an exception; a cache that cannot be written is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveal.engine.store import Store, cache_folder, store_name, trim
from foveal.errors import FovealError


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """A store with one shard, and the shard's bytes."""
    folder = tmp_path_factory.mktemp("damaged")
    Store(folder).add({key(1): np.arange(6, dtype=np.float32), key(2): np.zeros(3, np.float32)})
    (file,) = folder.glob("*.safetensors")
    return folder, file.read_bytes()


@given(st.integers(0, 10**6), st.integers(0, 255))
def test_damage_is_a_missing_row_not_an_exception(shard: tuple[Path, bytes], at: int, how: int) -> None:
    folder, data = shard
    at %= len(data)
    damaged = data[:at] if how == 0 else data[:at] + bytes([data[at] ^ how]) + data[at + 1 :]
    for file in folder.glob("*"):
        file.unlink()
    (folder / "0.safetensors").write_bytes(damaged)
    store = Store(folder)
    store.add({key(3): np.ones(2, np.float32)})
    np.testing.assert_array_equal(Store(folder)[key(3)], np.ones(2))


@pytest.mark.parametrize("length", range(12))
def test_a_shard_of_a_few_bytes_is_removed(tmp_path: Path, length: int) -> None:
    (tmp_path / "0.safetensors").write_bytes(b"\xff" * length)
    assert len(Store(tmp_path)) == 0
    assert not list(tmp_path.iterdir())


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FOVEAL_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(FovealError, match="FOVEAL_CACHE") as error:
        Store(cache_folder() / "facts" / store_name(kind="x"))
    assert str(tmp_path / "file") in str(error.value)


def test_trimming_survives_a_file_that_vanishes(tmp_path: Path) -> None:
    store = Store(tmp_path / "features" / "a")
    store.add({key(1): np.zeros(10, np.uint8)})
    (store.folder / ".half.tmp").symlink_to(tmp_path / "vanished")  # listed, then gone
    trim(tmp_path, limit_bytes=0)
    assert len(Store(store.folder)) == 1
