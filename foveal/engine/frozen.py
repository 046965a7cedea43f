"""The frozen pass: every raw thing decoded once and run through the network once, the features kept.

Knows the contracts, stores and backends. Rows are keyed by the digest of the file, so a picture that moves, or a
run that is killed and resumed, is not computed again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from foveal.contracts import Head, Input, Net
from foveal.engine.device import Runner
from foveal.engine.store import Store
from foveal.errors import DataError
from foveal.types import Packed, Raw, Size, Step

_CHUNK = 32
_ROWS_PER_SHARD = 256
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
        return self.head.gather(self.net(x))


@dataclass
class Cache:
    """The three stores of a pass, and the files that could not be read, each with the reason."""

    facts: Store
    packed: Store
    features: Mapping[str, Store]
    keys: dict[Path, bytes] = field(default_factory=dict)
    unreadable: dict[Path, str] = field(default_factory=dict)

    def facts_of(self, source: Path) -> Facts:
        return _unpack_facts(self.facts[self.keys[source]])

    def packed_of(self, source: Path) -> Packed:
        return Packed(self.packed[self.keys[source]], self.facts_of(source).raw_size)


class _Read(NamedTuple):
    source: Path
    key: bytes
    raw: Raw | None
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
    the stores are only hashed. Without runners nothing but facts and packed things is stored.
    """
    stem = input.stem()
    pending = _Pending(cache)

    def read(source: Path) -> _Read:
        try:
            key = hashlib.sha256(source.read_bytes()).digest()
            if _complete(cache, key, precision.get(source)):
                return _Read(source, key, None, None)
            return _Read(source, key, input.load(source), None)
        except DataError as error:
            return _Read(source, b"", None, str(error))
        except OSError as error:
            return _Read(source, b"", None, f"{source}: {error.strerror or error}")

    with ThreadPoolExecutor(threads) as pool:
        ahead = pool.map(read, sources[:_CHUNK])
        for start in range(0, len(sources), _CHUNK):
            chunk, ahead = list(ahead), pool.map(read, sources[start + _CHUNK : start + 2 * _CHUNK])
            _note(cache, chunk)
            fresh = {row.key: row for row in chunk if row.raw is not None}
            pending.pack(input, list(fresh.values()))
            for name, run in runners.items():
                rows = [row for row in fresh.values() if precision[row.source] == name]
                if rows:
                    with torch.inference_mode():
                        x = torch.cat([stem(input.tensor(row.raw))[0] for row in rows])
                    pending.features[name].update(zip([r.key for r in rows], run(x).numpy(), strict=True))
            pending.commit(at_least=_ROWS_PER_SHARD)
            done = min(start + _CHUNK, len(sources))
            yield Step("read", done, len(sources), {"computed": float(len(fresh))})
    pending.commit(at_least=1)


class _Pending:
    """Rows computed and not yet committed."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        self._clear()

    def _clear(self) -> None:
        self.facts: dict[bytes, np.ndarray] = {}
        self.packed: dict[bytes, np.ndarray] = {}
        self.features: dict[str, dict[bytes, np.ndarray]] = {name: {} for name in self.cache.features}

    def pack(self, input: Input, rows: Sequence[_Read]) -> None:
        for row in rows:
            packed = input.pack(row.raw)
            content = hashlib.sha256(str(packed.raw_size).encode() + _content(row.raw)).digest()
            self.packed[row.key] = packed.array
            facts = Facts(content, input.fingerprint(row.raw), packed.raw_size)
            self.facts[row.key] = _pack_facts(facts)

    def commit(self, at_least: int) -> None:
        if len(self.facts) < at_least:
            return
        for name, rows in self.features.items():
            self.cache.features[name].add(rows)
        self.cache.packed.add(self.packed)
        self.cache.facts.add(self.facts)
        self._clear()


def _complete(cache: Cache, key: bytes, precision: str | None) -> bool:
    ready = key in cache.facts and key in cache.packed
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
