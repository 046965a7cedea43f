"""One command, run and measured as a whole process, and the machine that it ran on. POSIX only.

Knows processes. Knows nothing of what a command computes: it prints one JSON object.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_PACKAGES = ("foveal", "torch", "numpy", "pillow", "openvino")
_WRITTEN = ("benchmarks/results.jsonl", "docs/benchmarks.md")
_MESSAGE_LINES = 15


class CommandFailedError(Exception):
    """A measured command ended with an error, or printed no JSON."""


@dataclass(frozen=True)
class Command:
    """argv and the folder to run it in; shown: for people, without temporary paths; env: on top of ours."""

    argv: Sequence[str]
    shown: str
    cwd: Path
    env: Mapping[str, str] = field(default_factory=dict)


def measure(command: Command) -> dict[str, object]:
    """Run it; wall seconds from start to end of the process, its largest memory, and the JSON that it printed.

    Memory is that of the largest single process among it and its children. Raises CommandFailedError.
    """
    load = os.getloadavg()[0]
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        started = time.perf_counter()
        process = subprocess.Popen(
            command.argv, cwd=command.cwd, env={**os.environ, **command.env}, stdout=output, stderr=errors
        )
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        printed, message = (_text(stream) for stream in (output, errors))
    if process.returncode != 0:
        raise CommandFailedError(f"{command.shown}: ended with {process.returncode}\n{_last_lines(message)}")
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "command": command.shown,
        "wall_seconds": round(wall, 3),
        "peak_mb": round(usage.ru_maxrss * unit / 1e6),
        "load_before": round(load, 2),
        "printed": _json(command, printed),
    }


def _text(stream) -> str:
    stream.seek(0)
    return stream.read().decode(errors="replace")


def _last_lines(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-_MESSAGE_LINES:])


def _json(command: Command, printed: str) -> dict[str, object]:
    """The JSON object that a command printed, after whatever else a library of a peer may have printed."""
    start = 0 if printed.lstrip().startswith("{") else printed.rfind("\n{") + 1
    try:
        found = json.loads(printed[start:])
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise CommandFailedError(
            f"{command.shown}: expected one JSON object on stdout, found:\n{_last_lines(printed)}"
        )
    return found


def surroundings() -> dict[str, object]:
    """When, at which commit, on what machine and with which versions a command runs."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": _machine(),
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    installed = {name: _version(name) for name in _PACKAGES}
    return {"python": platform.python_version(), **{name: v for name, v in installed.items() if v is not None}}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _machine() -> dict[str, object]:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    info = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = info.get("flags", "").split()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": info.get("model name") or platform.processor() or platform.machine(),
        "model": " ".join(info.get(key, "") for key in ("cpu family", "model", "stepping")).strip(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30),
        "avx512_bf16": "avx512_bf16" in flags,
        "amx": "amx_tile" in flags,
    }


def _commit() -> str | None:
    """Short hash, "+" behind it where files differ from it; None before the first commit."""
    head = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    if head.returncode != 0:
        return None
    status = ["git", "status", "--porcelain", "--", ".", *(f":!{path}" for path in _WRITTEN)]
    changed = subprocess.run(status, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    return head.stdout.strip() + ("+" if changed else "")
