"""What a person sees at the terminal: progress with the time left, results in a few lines, and JSON for machines.

Knows steps, estimates and cards; decides nothing. Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from foveal.types import Step

_TERMS_SHOWN = 9
# Of the 256 colours of terminals, from pale to deep.
_FOR_COLOURS, _AGAINST_COLOURS = (223, 215, 208), (189, 153, 75)
_PHASES = {
    "read": "reading and running the network once",
    "learn": "solving",
    "decode": "reading once more, to train on",
    "fit": "training",
    "views": "augmenting, up to the first trained stage",
    "fine-tune": "training the last stages",
    "judge": "asking unseen examples",
    "evaluate": "testing",
    "tolerance": "disturbing",
    "report": "explaining",
    "explanations": "erasing what explanations name",
    "shortcuts": "planting shortcuts",
}
_LOOKED_AT = {
    "val": "examples of the validation part",
    "test": "examples of the test part",
    "train": "examples, all of which it learnt from",
    "data": "examples of these data",
}


def tell(*lines: str) -> None:
    """Lines for a person, to stderr, so that stdout stays for results."""
    for line in lines:
        print(line, file=sys.stderr, flush=True)


def result(*lines: str) -> None:
    """Lines of results, to stdout."""
    for line in lines:
        print(line, flush=True)


def result_json(value: object) -> None:
    """One JSON object to stdout."""
    print(json.dumps(value, ensure_ascii=False), flush=True)


def can_ask() -> bool:
    """Whether somebody sits at a terminal to be asked."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def ask(question: str, letters: str) -> str:
    """The letter that an answer begins with, asked for until it is one of `letters`; "" at the end of input."""
    while True:
        print(question, end="", file=sys.stderr, flush=True)
        answer = sys.stdin.readline()
        if not answer:
            return ""
        if (first := answer.strip().lower()[:1]) and first in letters:
            return first


_WORDS_SHOWN, _WORTH_SAYING = 8, 0.01
_NEIGHBOURS_SHOWN = 3


class Watch:
    """Shows steps as one progress bar; call it with every step.

    Silent where stderr is no terminal, but for the first score and a line a phase.
    """

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = Console(stderr=True, highlight=False)
        self._progress = Progress(
            TextColumn("{task.description:<38}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )
        self._bar: Any = None
        self._phase = ""

    def __call__(self, step: Step) -> None:
        if step.phase != self._phase:
            self._begin(step)
        self._progress.update(self._bar, completed=step.done, total=step.total)
        if "frames/s" in step.values:
            self._progress.update(self._bar, description=f"watching, {step.values['frames/s']:.1f} frames a second")
        if step.phase == "learn" and step.done == 1:
            for name, value in step.values.items():
                self._console.print(
                    f"first score: {_words(name)} {value:.3f}, every example predicted without itself"
                )

    def _begin(self, step: Step) -> None:
        self._phase = step.phase
        text = _PHASES.get(step.phase, step.phase)
        if self._bar is None:
            self._bar = self._progress.add_task(text, total=step.total)
        else:
            self._progress.reset(self._bar, total=step.total, description=text)
        if not self._console.is_terminal:
            self._console.print(f"{text} ({step.total})")

    @contextmanager
    def showing(self) -> Iterator[Watch]:
        """Show the bar within; it is gone afterwards."""
        with self._progress:
            yield self

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Take the bar away within, so that a question can be read and answered."""
        self._progress.stop()
        try:
            yield
        finally:
            self._progress.start()


def score_lines(card: Mapping[str, Any]) -> list[str]:
    """The scores of a run in a few lines: metrics with intervals, the baseline, and which number belongs to what."""
    lines = [f"{_words(name):<16} {_estimate(values)}" for name, values in card["scores"]["test"].items()]
    baseline = card["details"].get("baseline")
    if baseline:
        share = next(baseline[name]["value"] for name in card["scores"]["test"] if name in baseline)
        lines.append(f"{'always guessing':<16} {share:.3f} ({baseline['class']}, the most frequent class)")
    train = next(iter(card["scores"]["train"].values()))
    lines.append(f"{'on seen examples':<16} {_estimate(train)}")
    return lines


def estimate_lines(estimates: Mapping[str, Any]) -> list[str]:
    """Metric name and estimate, a line each."""
    return [f"{_words(name):<16} {estimate}" for name, estimate in estimates.items()]


def finding_lines(findings: Sequence[Mapping[str, Any]], most: int = 8) -> list[str]:
    """Findings, one line each, the longest path lists cut."""
    lines = []
    for finding in findings[:most]:
        paths = finding["paths"]
        shown = f": {paths[0]}" if len(paths) == 1 else f": {paths[0]} and {len(paths) - 1} more" if paths else ""
        lines.append(f"  ! {finding['message']}{shown}")
    if len(findings) > most:
        lines.append(f"  ! and {len(findings) - most} more, in the report")
    return lines


def audit_lines(found: Mapping[str, Any]) -> list[str]:
    """What an audit found, a line each; gain: how much more confidence a method's order leaves than its reverse."""
    lines = _asked_lines(found) if "asked" in found else []
    lines.append(f"explanations     {found['examples']} {_LOOKED_AT[found['looked_at']]}")
    for name, own in found["methods"].items():
        agrees = "" if own["agreement"] is None else f", agreement {own['agreement']['value']:+.2f}"
        lines.append(
            f"  {name:<14} gain {_estimate(own['gain'])}{agrees}, {own['supported']['value']:.0%} of "
            f"{own['supported']['n']} supported"
        )
    lines += [
        f"  {name:<14} gain {gain['value']:.3f}, and knows nothing of the network"
        for name, gain in found["rivals"].items()
    ]
    on, untaught = found["on_manifold"], found.get("untaught")
    if on is not None:
        foreign = (
            "" if on["enough"] else ", too little: erasing is foreign to it, and what follows from it is doubtful"
        )
        lines.append(f"half erased      {on['kept']:.0%} of its right predictions stay right{foreign}")
    if untaught is not None:
        lines.append(
            f"untaught         maps agree {untaught['same_example']['value']:+.2f} with those of the network before "
            f"it learnt, those of two examples {untaught['other_examples']['value']:+.2f}: "
            f"{'passes' if untaught['passes'] else 'FAILS'}"
        )
    if found["shuffled"] and on is not None:
        right = ", ".join(f"{n} along an axis {own['value']:.0%}" for n, own in found["shuffled"].items())
        lines.append(f"tiles shuffled   right as they are {on['whole']['value']:.0%}, with {right}")
    if found["pointing"] is not None:
        hits = ", ".join(f"{name} {own['hits']['value']:.0%}" for name, own in found["pointing"]["methods"].items())
        lines.append(
            f"looks at it      the strongest cell lies on what was to be found: {hits}; by chance "
            f"{found['pointing']['base']:.0%}"
        )
    if "tolerance" in found:
        lines.append(f"tolerance        {found['tolerance']['sentence']}")
    planted = found.get("shortcuts", {}).items()
    return [*lines, *(line for name, trials in planted for line in _shortcut_lines(name, trials))]


def best_lines(method: str | None) -> list[str]:
    """Where an audit found another method than the ledger to be the most faithful one."""
    about = {"occlusion": "what erasing takes away, drawn beside it", "gradients": "gradients, which take longer"}
    return [f"  on this network, by its audit, more faithful still: {about[method]}"] if method in about else []


def _asked_lines(found: Mapping[str, Any]) -> list[str]:
    """Of a network that foveal did not train: how it wants to be asked, and how often it is right."""
    first, *others = found["asked"]
    lines = [f"asked with       {first['way']}: {first['right']:.0%} of a few are right"]
    if others:
        lines.append(f"                 (the next best, {others[0]['way']}: {others[0]['right']:.0%})")
    return [*lines, *(f"{name.replace('_', ' '):<16} {_estimate(own)}" for name, own in found["test"].items())]


def _shortcut_lines(name: str, trials: Sequence[Mapping[str, Any]]) -> list[str]:
    """A planted mark in each strength that was tried: whether the network used it, and who would have told."""
    lines = []
    for trial in trials:
        flipped = trial["flipped"]["copy"]
        start = f"planted          {name}, strength {trial['strength'] + 1}: "
        if not trial["proved"]:
            lines.append(f"{start}moves {flipped:.0%} of predictions, so nothing can be told of maps")
        elif not trial["has_place"]:
            lines.append(f"{start}moves {flipped:.0%} of predictions, and maps cannot show it")
        elif "methods" not in trial:
            lines.append(f"{start}moves {flipped:.0%} of predictions")
        else:
            told = ", ".join(f"{method} {own['auroc']:.2f}" for method, own in trial["methods"].items())
            lines.append(f"{start}moves {flipped:.0%} of predictions; told apart from a control by {told}")
    return lines


def convolution_lines(row: Mapping[str, Any]) -> list[str]:
    """A convolution in a few lines, the sum behind its largest value written out."""
    example, notes, shapes = row["example"], row["notes"], row["shapes"]
    return [
        f"input    {notes[0]}",
        *(f"         {note}" for note in notes[1:]),
        f"kernel   {row['kernel']}, {_across(shapes['kernel'])} numbers. {row['about']}",
        f"map      {_across(shapes['map'])} values, from {row['minimum']:.4g} to {row['maximum']:.4g}",
        f"largest  at {', '.join(map(str, example['at']))}: {_written_out(example)}",
        f"page     {row['page']}",
    ]


def _across(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _written_out(example: Mapping[str, Any]) -> str:
    """ "3·1 + 4·(-1) = -1"; of many products the largest ones, and what the others come to."""
    terms = list(zip(*(_flat(example[part]) for part in ("window", "kernel", "products")), strict=True))
    shown = terms if len(terms) <= _TERMS_SHOWN else sorted(terms, key=lambda term: -abs(term[2]))[:_TERMS_SHOWN]
    parts = [f"{value:.4g}·{f'({weight:.4g})' if weight < 0 else f'{weight:.4g}'}" for value, weight, _ in shown]
    if len(shown) < len(terms):
        rest = sum(product for _, _, product in terms) - sum(product for _, _, product in shown)
        parts.append(f"{rest:.4g} from {len(terms) - len(shown)} more products")
    if example["bias"]:
        parts.append(f"bias {example['bias']:.4g}")
    return f"{' + '.join(parts)} = {example['value']:.4g}"


def _flat(values: Any) -> list[float]:
    return [number for part in values for number in _flat(part)] if isinstance(values, list) else [values]


def failed(message: str) -> None:
    """An error for a person, in red where stderr is a terminal that wants colour."""
    tell(f"\033[31merror:\033[0m {message}" if _wants_colour(sys.stderr) else f"error: {message}")


def _estimate(values: Mapping[str, Any]) -> str:
    if values["low"] is None:
        why = "all alike" if values["value"] in (0, 1) else "one group"
        return f"{values['value']:.3f} (no interval: {why}, n={values['n']})"
    return f"{values['value']:.3f} ({values['low']:.3f} to {values['high']:.3f}, n={values['n']})"


def _words(name: str) -> str:
    return name.replace("_", " ")


def neighbour_lines(row: Mapping[str, Any]) -> list[str]:
    """The training examples that a file is most like, and the nearest of another class."""
    near, other = row.get("neighbours", ()), row.get("nearest_other")
    if not near:
        return []
    lines = [f"  most like {', '.join(map(_neighbour, near[:_NEIGHBOURS_SHOWN]))} of what it learnt from"]
    return [*lines, f"  of another class {_neighbour(other)}"] if other else lines


def _neighbour(one: Mapping[str, Any]) -> str:
    name = one["file"].rpartition("/")[2]
    return f"{name} ({one['label']}, {one['alike']:.2f}{'; that label looks wrong' if one['doubtful'] else ''})"


def word_lines(words: Sequence[tuple[str, float]]) -> list[str]:
    """A text with its words coloured by what they add to the score, where stdout is a terminal that wants colour; the
    words that say most, for and against."""
    lines = ["  " + " ".join(_coloured(words))] if words and _wants_colour(sys.stdout) else []
    ranked = sorted((row for row in words if abs(row[1]) >= _WORTH_SAYING), key=lambda row: -abs(row[1]))
    said = ", ".join(f"{word} {value:+.2f}" for word, value in ranked[:_WORDS_SHOWN])
    return [*lines, f"  {said}"] if ranked else lines


def _coloured(words: Sequence[tuple[str, float]]) -> Iterator[str]:
    """On orange what speaks for, on blue and underlined what speaks against; the stronger, the deeper."""
    largest = max(abs(value) for _, value in words) or 1.0
    for word, value in words:
        depth = min(len(_FOR_COLOURS), int(abs(value) / largest * (len(_FOR_COLOURS) + 1)))
        if not depth:
            yield word
        elif value > 0:
            yield f"\033[30;48;5;{_FOR_COLOURS[depth - 1]}m{word}\033[0m"
        else:
            yield f"\033[4;30;48;5;{_AGAINST_COLOURS[depth - 1]}m{word}\033[0m"


def _wants_colour(stream: TextIO) -> bool:
    return stream.isatty() and "NO_COLOR" not in os.environ
