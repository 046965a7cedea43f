"""scikit-learn on texts: counts of words, pairs of words and characters, and a linear support vector machine.

    python -m benchmarks.peers.count_texts FOLDER

The usual strong baseline, with its usual settings (C = 1); reads the parts as foveal does. Prints JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import accuracy_score, f1_score
from sklearn.pipeline import make_pipeline, make_union
from sklearn.svm import LinearSVC

from foveal.run import read_data


def main() -> None:
    """Fit on what is not test, score on test."""
    data = read_data(Path(sys.argv[1]), "text")
    parts = {held: [e for e in data.examples if (e.split == "test") is held] for held in (False, True)}
    texts, labels = (
        {held: [value(e) for e in own] for held, own in parts.items()}
        for value in (lambda e: e.source.read_bytes().decode(), lambda e: str(e.label))
    )
    words = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\w+|[^\w\s]", sublinear_tf=True)
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    machine = make_pipeline(make_union(words, characters), LinearSVC(C=1.0))
    machine.fit(texts[False], labels[False])
    said = machine.predict(texts[True])
    count = len(said)
    found = {
        "accuracy": {"value": float(accuracy_score(labels[True], said)), "n": count},
        "macro_f1": {"value": float(f1_score(labels[True], said, average="macro")), "n": count},
    }
    print(json.dumps({"test": found}))


if __name__ == "__main__":
    main()
