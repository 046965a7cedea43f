"""Write docs/cli.md: what is common to all commands, then the --help text of each.

`python -m tools.cli_help` writes it; a test fails where it is stale. Knows the command line and nothing behind it.
"""

from __future__ import annotations

from pathlib import Path

import typer
from typer.core import TyperGroup

from foveal.cli import app

PAGE = Path(__file__).resolve().parents[1] / "docs" / "cli.md"
_WIDTH = 80

_HEAD = """\
# The command line

`python -m tools.cli_help` writes this page from the program itself; do not edit it. What is marked *(planned)* is
not built yet: it says so and exits with 2.

Results go to stdout, everything else to stderr. Nothing that exists is overwritten: a run whose folder is taken gets
`-2`, and so does a drawing, a page or a `predictions.csv`; `convolve --out` refuses a file that exists. The
exceptions are what you name yourself with `export --out`, and a run's own `model.onnx` and `report.html`, which
`export` and `report` write again.

| exit code | means |
|---|---|
| 0 | done |
| 1 | failed: a run folder that is damaged or altered, a disk that is full, an export that does not agree |
| 2 | usage: an option, task, model or device that does not exist, or is not built yet |
| 3 | the data are refused; the message says which file, what was expected and what to do ([data.md](data.md)) |
| 130 | interrupted with Ctrl-C; `foveal resume RUN` goes on |
| 143 | told to end (SIGTERM); `foveal resume RUN` goes on |

At a terminal, the first Ctrl-C while a run learns asks whether to finish with what is learnt so far, report included,
or to save and stop. A second one, the end of input, and any Ctrl-C where there is nobody to ask save and stop at
once.

Two environment variables matter: `FOVEAL_CACHE` names the folder for caches (20 GB at most, the least recently used
go first; all of it may be deleted at any time), `NO_COLOR` turns colour off.

## With --json

One JSON object on stdout, in one line; where a command fails there is none, and the exit code says so. An estimate is
`{"value", "low", "high", "n"}`; `low` and `high` are the 95 % interval, or null where the data give none: one group
is all there is, or all came out alike.

| command | keys of the object |
|---|---|
| demo, train, resume | task, run, seconds, cost, test, train, learning, scored_on, report |
| check | data, reading, classes, examples, findings |
| eval | task, run, seconds, test, learnt_from (files that it knew), unreadable (reasons), distance, recall, fell |
| predict | task, run, predictions (file, label, score, scores, boxes or shares ...), unreadable (by file), written |
| explain | task, run, explanations (file, label, probability, score, bias, cells, exact, maps, verdict ...) |
| audit | task, run, seconds, looked_at, examples, methods, rivals, best, on_manifold, shuffled, pointing, untaught, \
shortcuts; of an ONNX file model, asked, test and tolerance in place of run, untaught and shortcuts |
| report | run, report |
| export | run, file, checked, largest_difference |
| convolve | file, kernel, about, notes, shapes, stride, padding, dilation, minimum, maximum, example, page |

What `eval` says of other data, beside their score: `distance` is how far they are from what the run learnt from, or
null where the network's head keeps no centre to measure from. `far` is an estimate of the share of files that lie
farther from the training examples than 99 % of the run's `test_n` test examples did (`limit`): about 0.01 in data of
the same kind. Distance is the root mean square of the network's features, each measured by its own spread, without
the part that lies along the 128 directions in which the training examples differ most. `recall` has a row for
each class: `name`, recall in the run's `test` and `here`, and the `difference`, here minus test, with the interval of
both together; `fell` names the classes where that interval lies below 0, the deepest fall first.

## Commands
"""


def page() -> str:
    """The whole page, the same on every terminal."""
    root = typer.main.get_command(app)
    assert isinstance(root, TyperGroup)
    top = root.make_context("foveal", [], resilient_parsing=True, terminal_width=_WIDTH)
    parts = [_HEAD]
    for name in root.list_commands(top):
        command = root.get_command(top, name)
        assert command is not None, name
        context = command.make_context(name, [], parent=top, resilient_parsing=True, terminal_width=_WIDTH)
        parts.append(f"\n### foveal {name}\n\n```text\n{command.get_help(context)}\n```\n")
    return "".join(parts)


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE}")
