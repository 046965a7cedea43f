"""What both peers have in common: the table, the network with its published weights, and what they print.

They start from the very weights, layers and preprocessing that foveal transfers from, read by foveal's own net
module: all that differs is how they train.
"""

from __future__ import annotations

import argparse
import csv
import importlib.metadata
import json
import platform
import sys
from pathlib import Path
from typing import NamedTuple

from torch import nn

SIZE = 224
FEATURES = 1280
# (pixel - 127) / 128, for pixels in 0 to 1.
MEAN, STD = [127 / 255] * 3, [128 / 255] * 3


class Row(NamedTuple):
    """One picture of the table."""

    file: str
    label: str
    split: str


def parse() -> argparse.Namespace:
    """table, seed, epochs, batch: the arguments of both peers."""
    parser = argparse.ArgumentParser(description="Prints one JSON line: accuracy on the test part, seconds, n.")
    parser.add_argument("table", type=Path, help="CSV with columns file, label, split")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=3, help="epochs of everything, after one of the head alone")
    parser.add_argument("--batch", type=int, default=64)
    return parser.parse_args()


def read(table: Path) -> list[Row]:
    """The rows; files are relative to the table unless absolute."""
    with table.open(newline="") as file:
        rows = [Row(**row) for row in csv.DictReader(file)]
    return [row._replace(file=str(table.parent / row.file)) for row in rows]


def body() -> nn.Sequential:
    """EfficientNet-Lite0 without its classifier: x (N, 3, S, S) -> (N, 1280, S / 32, S / 32)."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from foveal.nets import pretrained

    return nn.Sequential(*pretrained("lite0").stages)


def report(accuracy: float, n: int, seconds: float, packages: tuple[str, ...]) -> None:
    """Print the one JSON line."""
    versions = {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in packages}}
    print(json.dumps({"accuracy": accuracy, "seconds": round(seconds, 3), "n": n, "versions": versions}))
