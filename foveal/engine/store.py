"""Caches on disk: rows of any shape, found again by the digest of the content that they came from.

Knows bytes and digests. A store is a folder of shards; each shard is written whole or not at all and never changed,
so a kill loses at most the rows of one shard, and processes may share a store without locks.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import shutil
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from foveal.engine.checkpoint import write_atomic
from foveal.errors import FovealError

KEY_BYTES = 32
_LIMIT_BYTES = 20 * 2**30


def cache_folder() -> Path:
    """The user's cache folder for foveal; the environment variable FOVEAL_CACHE names another."""
    if named := os.environ.get("FOVEAL_CACHE"):
        return Path(named)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "foveal"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "foveal"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "foveal"


def store_name(**parts: object) -> str:
    """A folder name that differs wherever what determines the rows differs."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:24]


class Store(Mapping[bytes, np.ndarray]):
    """Arrays of one dtype by 32-byte key; reading maps the file, it does not copy it."""

    def __init__(self, folder: Path) -> None:
        """Open or create; a damaged shard is removed, its rows count as missing.

        Raises FovealError naming the folder where it cannot be created.
        """
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            folder.touch()  # marks it as used, for `trim`
        except OSError as error:
            raise FovealError(
                f"{folder}: the cache cannot be written ({error.strerror or error}); name another folder with the "
                f"environment variable FOVEAL_CACHE"
            ) from error
        self._rows: dict[bytes, np.ndarray] = {}
        for shard in sorted(folder.glob("*.safetensors")):
            try:
                self._rows.update(_read(shard))
            except (ValueError, LookupError, TypeError):
                with contextlib.suppress(OSError):
                    shard.unlink()
            except OSError:
                continue  # another process removed it, or it may not be read: its rows are computed again

    def __getitem__(self, key: bytes) -> np.ndarray:
        return self._rows[key]

    def __iter__(self):
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, rows: Mapping[bytes, np.ndarray]) -> None:
        """Commit rows as one shard. Raises FovealError where the disk is full."""
        if not rows:
            return
        shard = self.folder / f"{uuid.uuid4().hex}.safetensors"
        write_atomic(shard, *_serialised(rows))
        self._rows.update(_read(shard))


def trim(root: Path, limit_bytes: int = _LIMIT_BYTES) -> None:
    """Remove the least recently used stores below `root` until the rest fits; the newest always stays."""
    stores = [(folder.stat().st_mtime, folder) for folder in root.glob("*/*") if folder.is_dir()]
    total = 0
    for index, (_, folder) in enumerate(sorted(stores, reverse=True)):
        total += sum(_bytes(file) for file in folder.iterdir())
        if index > 0 and total > limit_bytes:
            shutil.rmtree(folder, ignore_errors=True)


def _bytes(file: Path) -> int:
    """0 where another process has removed or renamed it since it was listed."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


_DTYPES = {"U8": np.uint8, "F16": np.float16, "F32": np.float32, "I64": np.int64}
_NAMES = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}


def _serialised(rows: Mapping[bytes, np.ndarray]) -> list[bytes | memoryview]:
    """What a file of safetensors is made of; the rows as they are, since copies of many maps take seconds."""
    dtype = np.result_type(*rows.values())  # packed pictures are whole numbers where they were not enlarged
    arrays = [np.ascontiguousarray(array, dtype) for array in rows.values()]
    tables = {
        "end": np.cumsum([array.size for array in arrays], dtype=np.int64),
        "shape": np.asarray([array.shape for array in arrays], np.int64).reshape(len(arrays), -1),
        "key": np.frombuffer(b"".join(rows), np.uint8).reshape(-1, KEY_BYTES),
    }
    kinds = {name: (table.dtype, table.shape) for name, table in tables.items()}
    header, stop = {}, 0
    for name, (kind, shape) in {**kinds, "data": (dtype, tables["end"][-1:].tolist())}.items():
        start, stop = stop, stop + math.prod(shape) * kind.itemsize
        header[name] = {"dtype": _NAMES[kind], "shape": list(shape), "data_offsets": [start, stop]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # so that numbers of 8 bytes begin at places divisible by 8
    return [len(text).to_bytes(8, "little"), text, *(array.data for array in (*tables.values(), *arrays))]


def _read(shard: Path) -> dict[bytes, np.ndarray]:
    whole = np.memmap(shard, np.uint8, mode="r")
    length = int.from_bytes(whole[:8].tobytes(), "little")
    if length > len(whole) - 8:
        raise ValueError(f"{shard}: cut short")
    header = json.loads(whole[8 : 8 + length].tobytes())

    def tensor(name: str) -> np.ndarray:
        entry = header[name]
        start, stop = (8 + length + offset for offset in entry["data_offsets"])
        return whole[start:stop].view(_DTYPES[entry["dtype"]]).reshape(entry["shape"])

    data, ends, keys, shapes = (tensor(name) for name in ("data", "end", "key", "shape"))
    starts = np.concatenate([[0], ends[:-1]])
    return {keys[i].tobytes(): data[starts[i] : ends[i]].reshape(shapes[i]) for i in range(len(keys))}
