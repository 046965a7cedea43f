"""The frozen pass: every raw thing decoded once and run through the network once, the features kept.

Knows the contracts, stores and backends. Rows are keyed by the digest of the file, so a picture that moves, or a
run that is killed and resumed, is not computed again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from foveal.contracts import Head, Input, Net
from foveal.engine.device import Runner, fewer
from foveal.engine.store import Store
from foveal.errors import DataError
from foveal.types import Packed, Raw, Size, Step
from foveal.workers import Workers

_CHUNK = 32
# So many rows, or as many as have so many bytes, are written together.
_ROWS_PER_SHARD, _BYTES_PER_SHARD = 256, 2**29
_FACT_BYTES = 56


class Facts(NamedTuple):
    """What splitting and geometry need of a raw thing. digest: SHA-256 of its decoded content."""

    digest: bytes
    fingerprint: int
    raw_size: Size


class Gathered(nn.Module):
    """Network and the fixed half of a head: x (N, C, ...) -> features (N, F). This is what a backend runs."""

    def __init__(self, net: Net, head: Head) -> None:
        super().__init__()
        self.net, self.head = net, head

    def forward(self, x: Tensor) -> Tensor:
        few = self.net.rows_at_once or len(x)
        return torch.cat([self._gathered(part) for part in x.split(few)]) if few < len(x) else self._gathered(x)

    def _gathered(self, x: Tensor) -> Tensor:
        """No more stages are run than the head needs."""
        return self.head.gather(islice(self.net.levels(x), self.head.depth(len(self.net.stages))))


@dataclass
class Cache:
    """The stores of a pass, and the files that could not be read, each with the reason.

    packed: None where nothing will be trained on it, which spares the disk a picture a row.
    """

    facts: Store
    sketches: Store
    packed: Store | None
    features: Mapping[str, Store]
    keys: dict[Path, bytes] = field(default_factory=dict)
    unreadable: dict[Path, str] = field(default_factory=dict)

    def facts_of(self, source: Path) -> Facts:
        return _unpack_facts(self.facts[self.keys[source]])

    def packed_of(self, source: Path) -> Packed:
        assert self.packed is not None, "this pass kept nothing to train on"
        return Packed(self.packed[self.keys[source]], self.facts_of(source).raw_size)

    def sketch_of(self, source: Path) -> np.ndarray:
        return self.sketches[self.keys[source]]


class _Prepared(NamedTuple):
    """What is kept of a raw thing once it is decoded; the raw thing itself may be a gigabyte."""

    packed: np.ndarray | None
    sketch: np.ndarray
    facts: Facts
    x: Tensor


class _Read(NamedTuple):
    source: Path
    key: bytes
    prepared: _Prepared | None
    problem: str | None


def run_pass(
    input: Input,
    sources: Sequence[Path],
    cache: Cache,
    runners: Mapping[str, Runner],
    precision: Mapping[Path, str],
    threads: int,
) -> Iterator[Step]:
    """Fill `cache` for `sources`; yields after every chunk of at most 32.

    runners: by name, what computes the features; precision: which of them computes a source's. Sources already in
    the stores are only hashed. Without runners no features are stored.
    """
    prepare = _Preparing(input, cache, precision)
    pending = _Pending(cache)
    with Workers(threads) as pool:
        count = fewer(_CHUNK, input.shape())
        ahead = pool.map(prepare, sources[:count])
        for start in range(0, len(sources), count):
            chunk, ahead = list(ahead), pool.map(prepare, sources[start + count : start + 2 * count])
            _note(cache, chunk)
            fresh = [row for row in chunk if row.prepared is not None]
            pending.keep(fresh)
            for name, run in runners.items():
                pending.compute(name, run, [row for row in fresh if precision[row.source] == name])
            pending.commit(_ROWS_PER_SHARD, _BYTES_PER_SHARD)
            done = min(start + count, len(sources))
            yield Step("read", done, len(sources), {"computed": float(len(fresh))})
    pending.commit(1, 1)


class _Preparing:
    """Decodes and prepares one source; called from several threads at once."""

    def __init__(self, input: Input, cache: Cache, precision: Mapping[Path, str]) -> None:
        self.input, self.cache, self.precision = input, cache, precision
        self.stem = input.stem()

    def __call__(self, source: Path) -> _Read:
        try:
            key = hashlib.sha256(source.read_bytes()).digest()
            if _complete(self.cache, key, self.precision.get(source)):
                return _Read(source, key, None, None)
            return _Read(source, key, self._prepare(self.input.load(source)), None)
        except DataError as error:
            return _Read(source, b"", None, str(error))
        except OSError as error:
            return _Read(source, b"", None, f"{source}: {error.strerror or error}")

    def _prepare(self, raw: Raw) -> _Prepared:
        packed = self.input.pack(raw)
        digest = hashlib.sha256(str(packed.raw_size).encode() + _content(raw)).digest()
        facts = Facts(digest, self.input.fingerprint(raw), packed.raw_size)
        with torch.inference_mode():
            exact = self.input.exact  # what is packed is what is seen, and packing a text twice takes a while
            x = torch.from_numpy(packed.array)[None] if exact else self.input.seen(raw, self.stem)[0]
        kept = packed.array if self.cache.packed is not None else None
        return _Prepared(kept, self.input.sketch(packed.array), facts, x)


class _Pending:
    """Rows computed and not yet committed."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        self._clear()

    def _clear(self) -> None:
        self.facts: dict[bytes, np.ndarray] = {}
        self.sketches: dict[bytes, np.ndarray] = {}
        self.packed: dict[bytes, np.ndarray] = {}
        self.features: dict[str, dict[bytes, np.ndarray]] = {name: {} for name in self.cache.features}

    def keep(self, rows: Sequence[_Read]) -> None:
        for row in rows:
            assert row.prepared is not None
            self.sketches[row.key] = row.prepared.sketch
            if row.prepared.packed is not None:
                self.packed[row.key] = row.prepared.packed
            self.facts[row.key] = _pack_facts(row.prepared.facts)

    def compute(self, name: str, run: Runner, rows: Sequence[_Read]) -> None:
        by_key = {row.key: row.prepared.x for row in rows if row.prepared is not None}
        if by_key:
            found = run(torch.cat(list(by_key.values()))).numpy()
            self.features[name].update(zip(by_key, found, strict=True))

    def commit(self, at_least: int, or_bytes: int) -> None:
        """Write what is pending, if there are so many rows of it, or so many bytes."""
        stored = (*self.features.values(), self.packed)
        if len(self.facts) < at_least and sum(own.nbytes for kept in stored for own in kept.values()) < or_bytes:
            return
        for name, rows in self.features.items():
            self.cache.features[name].add(rows)
        if self.cache.packed is not None:
            self.cache.packed.add(self.packed)
        self.cache.sketches.add(self.sketches)
        self.cache.facts.add(self.facts)
        self._clear()


def _complete(cache: Cache, key: bytes, precision: str | None) -> bool:
    ready = key in cache.facts and key in cache.sketches and (cache.packed is None or key in cache.packed)
    return ready and (precision is None or key in cache.features[precision])


def _note(cache: Cache, chunk: Sequence[_Read]) -> None:
    for row in chunk:
        if row.problem is None:
            cache.keys[row.source] = row.key
        else:
            cache.unreadable[row.source] = row.problem


def _content(raw: Raw) -> bytes:
    return raw.tobytes() if isinstance(raw, np.ndarray) else str(raw).encode()


def _pack_facts(facts: Facts) -> np.ndarray:
    numbers = np.asarray([facts.fingerprint, *facts.raw_size], np.uint64).tobytes()
    return np.frombuffer(facts.digest + numbers, np.uint8)


def _unpack_facts(row: np.ndarray) -> Facts:
    data = row.tobytes()
    assert len(data) == _FACT_BYTES
    fingerprint, height, width = (int(n) for n in np.frombuffer(data[32:], np.uint64))
    return Facts(data[:32], fingerprint, Size(height, width))
