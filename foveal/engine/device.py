"""What this machine runs a network on: backend, dtype and layout, measured once and remembered.

Knows modules and tensors, not what they mean. The same choice can be 4 times faster on one CPU and 90 times slower
on the next (bf16 without hardware for it), so nothing is assumed: candidates are timed and compared with PyTorch
in float32 on the CPU before they are trusted.
"""

from __future__ import annotations

import contextlib
import copy
import ctypes
import importlib.util
import json
import math
import platform
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from foveal.engine.checkpoint import write_atomic
from foveal.engine.store import cache_folder, store_name
from foveal.errors import FovealError, UsageError
from foveal.types import Stacked

Runner = Callable[[Tensor], Tensor]
"""(N, ...) float32 -> (N, F) float32, both on the CPU."""

_PROBE_ROWS = 4
# Of glibc's mallopt.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
# A first run this many times slower than the best second one is not repeated: warming up never costs that much.
_HOPELESS = 6
# Relative to the spread of the features: above this a backend is wrong, not merely coarse.
_TOLERANCE = {"float32": 1e-3, "bfloat16": 0.5}


@dataclass(frozen=True)
class Backend:
    """One way to run a frozen module."""

    name: str
    device: str = "cpu"
    dtype: str = "float32"
    channels_last: bool = False

    def __str__(self) -> str:
        layout = " channels_last" if self.channels_last else ""
        return f"{self.name} {self.dtype}{layout} on {self.device}"


PLAIN = Backend("torch")
"""PyTorch in float32 with its default layout: what every other backend is compared with."""

_ROWS, _ROWS_OF_MAPS = 32, 8
# Of larger planes fewer are held at once, as many as have as many pixels together.
_USUAL_PIXELS = 640 * 640


def choose_device(asked: str | None) -> str:
    """The device asked for, else a CUDA GPU, else the CPU. Raises UsageError where this machine lacks it."""
    if asked in (None, "auto"):
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind = str(asked).split(":")[0]
    here = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not here.get(kind, False):
        usable = ", ".join(name for name, present in here.items() if present)
        raise UsageError(f"--device {asked}: expected one that this machine has ({usable})")
    return str(asked)


def candidates(device: str) -> list[Backend]:
    """Backends worth timing on this machine, PyTorch float32 first."""
    if not device.startswith("cpu"):
        found = [Backend("torch", device), Backend("torch", device, channels_last=True)]
        return [*found, Backend("torch", device, "bfloat16", channels_last=True)]
    found = [Backend("torch", channels_last=True)]
    if "avx512_bf16" in cpu_features() or "amx_bf16" in cpu_features():
        found.append(Backend("torch", "cpu", "bfloat16", channels_last=True))
    if importlib.util.find_spec("openvino") is not None:
        found.append(Backend("openvino"))
        if "BF16" in _openvino_capabilities():
            found.append(Backend("openvino", "cpu", "bfloat16"))
    return found


@cache
def cpu_features() -> frozenset[str]:
    """Names such as avx512_bf16 of what this CPU can do, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    if not info.is_file():
        return frozenset()
    line = next((row for row in info.read_text().splitlines() if row.startswith("flags")), "")
    return frozenset(line.partition(":")[2].split())


def training_dtype(device: str) -> torch.dtype:
    """bfloat16 where this machine multiplies it faster than float32."""
    fast = not device.startswith("cpu") or {"avx512_bf16", "amx_bf16"} & cpu_features()
    return torch.bfloat16 if fast else torch.float32


def repeatable() -> AbstractContextManager[None]:
    """Within, a GPU gives the same bits every time, and float32 is not rounded to fewer of them."""
    return torch.backends.cudnn.flags(enabled=True, deterministic=True, benchmark=False, allow_tf32=False)


def placed(stacked: Stacked, device: str) -> Stacked:
    """On the device where it leaves half of the free memory to computing; where it was, else."""
    if not device.startswith("cuda") or stacked.array.nbytes > torch.cuda.mem_get_info(device)[0] / 2:
        return stacked
    return stacked.to(device)


def keep_memory() -> None:
    """Let the C library keep what a step frees for the next one, where it is glibc.

    Given back to the system, every page of a large tensor is a fault at its next use: with batches of 512 pictures
    of 32 px that is a quarter of a training step.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_MMAP_THRESHOLD, 2**30)
    libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)


def rows_at_once(shape: Sequence[int], *, maps: bool) -> int:
    """Rows of a frozen batch of inputs of `shape` (C, ...); fewer where whole maps are kept, since each compiled
    module keeps memory for them."""
    return fewer(_ROWS_OF_MAPS if maps else _ROWS, shape)


def fewer(rows: int, shape: Sequence[int]) -> int:
    """So many rows of inputs of `shape` (C, ...), or as many of large ones as take no more memory; at least one."""
    return max(1, min(rows, rows * _USUAL_PIXELS // math.prod(shape[1:])))


def compile_frozen(module: nn.Module, shape: tuple[int, ...], backend: Backend) -> Runner:
    """A frozen module for inputs of exactly `shape` (N, ...); shorter batches are padded and longer ones computed in
    parts, so rows never depend on how many others stand beside them."""
    build = _compile_openvino if backend.name == "openvino" else _compile_torch
    run = build(module, shape, backend)

    def run_padded(x: Tensor) -> Tensor:
        if len(x) == shape[0]:
            return run(x)
        if len(x) > shape[0]:
            return torch.cat([run_padded(part) for part in x.split(shape[0])])
        padded = torch.zeros(shape)
        padded[: len(x)] = x
        return run(padded)[: len(x)]

    return run_padded


def probe(module: nn.Module, shape: tuple[int, ...], device: str, kind: str) -> dict[Backend, float]:
    """Rows per second by backend, those that disagree with PyTorch on the CPU left out; fastest first.

    shape: (N, ...) of a batch; kind: names the network for the cache, which holds per machine and versions.
    """
    file = cache_folder() / "probe" / f"{_machine(kind, shape, device)}.json"
    if (known := _remembered(file)) is not None:
        return known
    rates = _measure(module, (shape[0] if device.startswith("cuda") else _PROBE_ROWS, *shape[1:]), device)
    if (known := _remembered(file)) is not None:  # another process was quicker: both go by what the first measured
        return known
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"backend": asdict(backend), "rate": rate} for backend, rate in rates.items()]
    write_atomic(file, json.dumps(rows).encode())
    return rates


def _remembered(file: Path) -> dict[Backend, float] | None:
    """Rates as they were written; None where they were not, or are damaged."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return {Backend(**row["backend"]): row["rate"] for row in json.loads(file.read_text())}
    return None


def fastest(rates: dict[Backend, float], dtype: str | None = None) -> Backend:
    """The fastest backend, of one dtype if given; PyTorch float32 where the probe trusted none."""
    fitting = {backend: rate for backend, rate in rates.items() if dtype in (None, backend.dtype)}
    return max(fitting, key=lambda backend: fitting[backend], default=PLAIN)


def _measure(module: nn.Module, shape: tuple[int, ...], device: str) -> dict[Backend, float]:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        truth = module(x)
    spread = float(truth.std())
    rates: dict[Backend, float] = {}
    for backend in reversed(candidates(device)):  # the likely winners first, to spend little on the others
        try:
            run = compile_frozen(module, shape, backend)
            first, found = _timed(run, x)
        except (RuntimeError, ValueError, FovealError):
            continue  # a backend that cannot run this module here is not a candidate
        error = float((found - truth).abs().median()) / max(spread, 1e-12)
        if error > _TOLERANCE[backend.dtype]:
            continue
        best = max(rates.values(), default=0.0)
        hopeless = shape[0] / first < best / _HOPELESS
        rates[backend] = shape[0] / (first if hopeless else _timed(run, x)[0])
    return dict(sorted(rates.items(), key=lambda item: -item[1]))


def _timed(run: Runner, x: Tensor) -> tuple[float, Tensor]:
    started = time.perf_counter()
    found = run(x)
    return time.perf_counter() - started, found


def _compile_torch(module: nn.Module, shape: tuple[int, ...], backend: Backend) -> Runner:
    dtype = getattr(torch, backend.dtype)
    layout = torch.channels_last if backend.channels_last and len(shape) == 4 else torch.contiguous_format
    folded = fold_batchnorm(module).to(backend.device, dtype)
    if len(shape) == 4:
        folded = folded.to(memory_format=layout)  # type: ignore[call-overload]

    def run(x: Tensor) -> Tensor:
        with torch.inference_mode(), repeatable():
            moved = x.to(backend.device, dtype)
            moved = moved.contiguous(memory_format=layout) if x.ndim == 4 else moved
            return folded(moved).float().cpu()

    return run


def fold_batchnorm(module: nn.Module) -> nn.Module:
    """A copy in evaluation mode with every BatchNorm that follows a convolution folded into it."""
    folded = copy.deepcopy(module).eval()
    for parent in list(folded.modules()):
        children = list(parent.named_children())
        for (first, conv), (second, norm) in pairwise(children):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(parent, first, fuse_conv_bn_eval(conv, norm))
                setattr(parent, second, nn.Identity())
    return folded


def _openvino():
    """The openvino module; its telemetry package is kept from loading first."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import openvino
    return openvino


@cache
def _openvino_capabilities() -> frozenset[str]:
    return frozenset(_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


def _compile_openvino(module: nn.Module, shape: tuple[int, ...], backend: Backend) -> Runner:
    openvino = _openvino()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        example = torch.zeros(1, *shape[1:])
        traced = torch.jit.trace(module.eval(), example, check_trace=False)
        graph = openvino.convert_model(traced, example_input=example, input=[list(shape)])
    precision = {"float32": "f32", "bfloat16": "bf16"}[backend.dtype]
    settings = {"INFERENCE_PRECISION_HINT": precision, "NUM_STREAMS": 1}
    compiled = openvino.Core().compile_model(graph, "CPU", settings)

    def run(x: Tensor) -> Tensor:
        return torch.from_numpy(np.array(compiled([x.contiguous().numpy()])[0], np.float32))

    return run


def _machine(kind: str, shape: tuple[int, ...], device: str) -> str:
    return store_name(
        kind=kind,
        shape=shape[1:],
        device=device,
        cpu=sorted(cpu_features()) or platform.processor(),
        machine=platform.machine(),
        threads=torch.get_num_threads(),
        versions=versions(),
    )


def versions() -> dict[str, str]:
    """Versions of what computes: results repeat bit for bit only where these are equal."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for package in ("torch", "numpy", "pillow", "openvino"):
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def operations(module: nn.Module, shape: tuple[int, ...]) -> float:
    """Floating-point operations of convolutions and linear layers for one row of inputs of `shape` (N, ...)."""
    counts: list[float] = []

    def count(layer: nn.Module, _: object, output: Tensor) -> None:
        weight = layer.weight
        assert isinstance(weight, Tensor)
        counts.append(2.0 * output[0].numel() * weight[0].numel())

    layers = [layer for layer in module.modules() if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    with torch.inference_mode():
        module(torch.zeros(1, *shape[1:]))
    for hook in hooks:
        hook.remove()
    return sum(counts)


def multiply_peak(dtype: torch.dtype = torch.float32, seconds: float = 0.3) -> float:
    """Floating-point operations per second of a plain matrix product here: what a share of peak refers to."""
    a = torch.randn(768, 768).to(dtype)
    product = a @ a
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        torch.mm(a, a, out=product)
        count += 1
    return 2 * 768**3 * count / (time.perf_counter() - started)
