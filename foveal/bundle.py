"""The run folder on disk: card.json and weights.safetensors, and what stands beside them. See docs/bundle.md.

Knows files, digests and names. JSON and safetensors only; nothing in a run folder can run code.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from foveal.engine.checkpoint import write_atomic
from foveal.errors import FovealError, RunError

CARD, WEIGHTS, SPLITS, METRICS, PREDICTIONS, REPORT, FAITHFULNESS, INSIDE = (
    "card.json", "weights.safetensors", "splits.csv", "metrics.jsonl", "predictions.csv", "report.html",
    "faithfulness.json", "inside.json",
)  # fmt: skip
FORMAT = 1
SPLITS_HEADER = ("file", "split", "fold", "unit", "label", "sha256")


def new_folder(wanted: Path) -> Path:
    """Create `wanted`, or the first of wanted-2, wanted-3, ... that does not exist: no run is ever overwritten.

    Raises FovealError naming the folder where it cannot be created or written.
    """
    for number in range(1, 10_000):
        folder = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            continue
        except OSError as error:
            raise FovealError(
                f"{folder}: cannot be created ({error.strerror}); name a folder that you can write with --out"
            ) from error
    raise FovealError(f"{wanted}: ten thousand runs of this name exist; name another with --out")


def discard(folder: Path) -> None:
    """Remove a run folder of refused data, which holds nothing but its state; any other is left as it is."""
    if all(file.name.startswith("state.") for file in folder.iterdir()):
        for file in list(folder.iterdir()):
            file.unlink()
        folder.rmdir()


def save_weights(folder: Path, tensors: Mapping[str, Tensor]) -> str:
    """Write the weights; returns their SHA-256, which the card must hold."""
    data = save_tensors({name: tensor.detach().contiguous() for name, tensor in sorted(tensors.items())})
    write_atomic(folder / WEIGHTS, data)
    return hashlib.sha256(data).hexdigest()


def save_card(folder: Path, card: Mapping[str, object]) -> None:
    """Write the card last: a folder with a card is a finished run."""
    write_atomic(folder / CARD, json.dumps(card, indent=1, ensure_ascii=False).encode())


def save_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_atomic(path, text.getvalue().encode())


def load_rows(path: Path) -> list[dict[str, str]]:
    """Read a CSV of the run folder. Raises RunError where it is missing."""
    if not path.is_file():
        raise RunError(f"{path}: missing; expected a finished run; continue it with: foveal resume {path.parent}")
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def load_card(folder: Path) -> dict:
    """Read the card. Raises RunError where there is none, it is damaged, or of a later format."""
    path = folder / CARD
    if not path.is_file():
        raise RunError(f"{folder}: no {CARD}; expected a finished run (an interrupted one: foveal resume {folder})")
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        number = card["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path}: damaged ({error}); restore it from a copy or train again") from error
    if number != FORMAT:
        raise RunError(f"{path}: format {number}, expected {FORMAT}; use the version of foveal that wrote it")
    return card


def load_weights(folder: Path, card: Mapping[str, object]) -> dict[str, Tensor]:
    """Read the weights. Raises RunError where they are missing or not those that the card was written for."""
    path = folder / WEIGHTS
    if not path.is_file():
        raise RunError(f"{path}: missing; restore it from a copy or train again")
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != card["weights_sha256"]:
        raise RunError(
            f"{path}: altered or damaged: expected SHA-256 {card['weights_sha256']}, found {found}; restore it "
            f"from a copy or train again"
        )
    return load_tensors(data)
