"""A bag of words and pairs of words in PyTorch, as fastText's classifier is one (Joulin et al. 2017, 1607.01759).

    python -m benchmarks.peers.bag_texts FOLDER [--seed N]

Each word and pair has a vector of 100 numbers, pairs share 2^20 of them by hash; the mean of a text's vectors is read
by a softmax. 25 epochs at a rate that falls to 0; reads the parts as foveal does. Prints JSON.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import zlib
from pathlib import Path

import torch
import torch.nn.functional as F
from sklearn.metrics import accuracy_score, f1_score
from torch import Tensor, nn

from foveal.run import read_data

_WIDTH, _PAIRS, _EPOCHS, _RATE, _BATCH = 100, 2**20, 25, 0.003, 32


def main() -> None:
    """Fit on what is not test, score on test."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    data = read_data(args.data, "text")
    learnt, tested = ([e for e in data.examples if (e.split == "test") is held] for held in (False, True))
    words: dict[str, int] = {}
    rows = [_numbers(_words(one.source.read_bytes().decode()), words, grow=True) for one in learnt]
    truth = torch.tensor([data.class_names.index(str(one.label)) for one in learnt])
    bag = nn.EmbeddingBag(1 + len(words) + _PAIRS, _WIDTH, mode="mean", sparse=True)
    read = nn.Linear(_WIDTH, len(data.class_names))
    nn.init.uniform_(bag.weight, -1 / _WIDTH, 1 / _WIDTH)
    nn.init.zeros_(read.weight)
    steps = [torch.optim.SparseAdam(list(bag.parameters()), _RATE), torch.optim.Adam(read.parameters(), _RATE)]
    count, done = _EPOCHS * -(-len(rows) // _BATCH), 0
    for _ in range(_EPOCHS):
        for some in torch.randperm(len(rows)).split(_BATCH):
            for step in steps:
                step.param_groups[0]["lr"] = _RATE * (1 - done / count)
                step.zero_grad()
            F.cross_entropy(read(_means(bag, [rows[row] for row in some.tolist()])), truth[some]).backward()
            for step in steps:
                step.step()
            done += 1
    asked = [_numbers(_words(one.source.read_bytes().decode()), words, grow=False) for one in tested]
    with torch.no_grad():
        said = read(_means(bag, asked)).argmax(1).tolist()
    labels = [data.class_names.index(str(one.label)) for one in tested]
    found = {
        "accuracy": {"value": float(accuracy_score(labels, said)), "n": len(said)},
        "macro_f1": {"value": float(f1_score(labels, said, average="macro")), "n": len(said)},
    }
    print(json.dumps({"test": found}))


def _words(text: str) -> list[str]:
    return re.findall(r"\w+|[^\w\s]", text.lower())


def _numbers(text: list[str], words: dict[str, int], *, grow: bool) -> Tensor:
    """Of words, from 1 on, 0 for unknown ones; then of pairs, before all of them."""
    if grow:
        for word in text:
            words.setdefault(word, len(words) + 1)
    pairs = [-1 - zlib.crc32(f"{a} {b}".encode()) % _PAIRS for a, b in itertools.pairwise(text)]
    return torch.tensor([*(words.get(word, 0) for word in text), *pairs] or [0])


def _means(bag: nn.EmbeddingBag, rows: list[Tensor]) -> Tensor:
    flat = torch.cat(rows) % bag.num_embeddings  # pairs are numbered from the end
    ends = torch.tensor([len(row) for row in rows]).cumsum(0)
    return bag(flat, torch.cat([ends.new_zeros(1), ends[:-1]]))


if __name__ == "__main__":
    main()
