"""A plain PyTorch loop as most tutorials write it: Dataset, DataLoader, float32, AdamW, the head first, then all."""

# ruff: noqa: E402 - the seconds printed include the imports
from __future__ import annotations

import time

STARTED = time.perf_counter()

from collections.abc import Iterable, Sequence

import torch
from _shared import FEATURES, MEAN, SIZE, STD, Row, body, parse, read, report
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

HEAD_RATE, BODY_RATE = 1e-3, 1e-4
WORKERS = 2


class Pictures(Dataset):
    """Rows of the table as (3, S, S) float32 and class index."""

    def __init__(self, rows: Sequence[Row], classes: Sequence[str], transform: transforms.Compose) -> None:
        self.rows, self.classes, self.transform = rows, classes, transform

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        row = self.rows[index]
        with Image.open(row.file) as picture:
            return self.transform(picture.convert("RGB")), self.classes.index(row.label)


def main() -> None:
    """1 epoch of the head alone, then `--epochs` of everything; val is scored after each, test once."""
    args = parse()
    torch.manual_seed(args.seed)
    rows = read(args.table)
    classes = sorted({row.label for row in rows})
    model = nn.Sequential(body(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(FEATURES, len(classes)))
    loaders = {part: _loader(rows, part, classes, args.batch) for part in ("train", "val", "test")}
    model[0].requires_grad_(False)
    _train(model, loaders, torch.optim.AdamW(model[3].parameters(), lr=HEAD_RATE), 1)
    model[0].requires_grad_(True)
    _train(model, loaders, torch.optim.AdamW(model.parameters(), lr=BODY_RATE), args.epochs)
    accuracy, n = _score(model, loaders["test"])
    report(accuracy, n, time.perf_counter() - STARTED, ("torch", "torchvision"))


def _loader(rows: Sequence[Row], part: str, classes: Sequence[str], batch: int) -> DataLoader:
    training = part == "train"
    flip = [transforms.RandomHorizontalFlip()] if training else []
    steps = [transforms.Resize((SIZE, SIZE)), *flip, transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    pictures = Pictures([row for row in rows if row.split == part], classes, transforms.Compose(steps))
    return DataLoader(pictures, batch, shuffle=training, num_workers=WORKERS)


def _train(model: nn.Module, loaders: dict[str, DataLoader], optimiser: torch.optim.Optimizer, epochs: int) -> None:
    criterion = nn.CrossEntropyLoss()
    for _ in range(epochs):
        model.train()
        for x, y in loaders["train"]:
            optimiser.zero_grad()
            criterion(model(x), y).backward()
            optimiser.step()
        _score(model, loaders["val"])


def _score(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> tuple[float, int]:
    model.eval()
    right = n = 0
    with torch.no_grad():
        for x, y in batches:
            right += int((model(x).argmax(1) == y).sum())
            n += len(y)
    return right / n, n


if __name__ == "__main__":
    main()
