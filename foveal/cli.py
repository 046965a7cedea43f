"""The command line: arguments -> api, and what comes back -> console; nothing else.

Exit codes: 0 ok, 1 failed, 2 usage, 3 data refused; 130 interrupted, 143 told to end. Heavy imports stand inside the
commands, so that `foveal --help` answers at once.
"""

from __future__ import annotations

import functools
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, cast

import typer

from foveal import console
from foveal.errors import DataError, FovealError, UsageError

if TYPE_CHECKING:
    from foveal.api import Run
    from foveal.session import Session

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Train a convolutional network on your labelled data, know how good it is, see why, take it elsewhere.",
)

_INTERRUPTED, _TERMINATED = 130, 143

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object to stdout, everything else to stderr.")]
Data = Annotated[Path, typer.Argument(metavar="DATA", help="A folder or a table file.")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]
Files = Annotated[list[Path], typer.Argument(metavar="FILE", help="Files to look at.")]
Out = Annotated[Path | None, typer.Option("--out", metavar="RUN", help="The run folder; never overwritten.")]
OutFolder = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="The folder to write to.")]
Label = Annotated[str | None, typer.Option("--label", metavar="COL|REGEX", help="Column, or pattern in paths.")]
Group = Annotated[str | None, typer.Option("--group", metavar="COL|REGEX", help="What must stay in one split.")]
Device = Annotated[str | None, typer.Option("--device", metavar="D", help="cpu, cuda or mps.")]
Minutes = Annotated[float, typer.Option("--minutes", metavar="M", min=0.1, help="The time it may take, all in all.")]


def _command(function: Callable[..., None]) -> Callable[..., None]:
    """Register a command; our errors become a message and an exit code."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            function(*args, **kwargs)
        except FovealError as error:
            console.failed(str(error))
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            console.tell("interrupted")
            raise typer.Exit(_INTERRUPTED) from None

    return app.command(function.__name__.removesuffix("_"))(run)


class _Terminated(KeyboardInterrupt):
    """SIGTERM, which ends work as Ctrl-C does, with another exit code."""


def _terminated(*_: object) -> NoReturn:
    raise _Terminated


def _planned(name: str) -> NoReturn:
    raise UsageError(f"`foveal {name}` is planned and not built yet; see the list in the README")


@_command
def demo(
    task: Annotated[str | None, typer.Argument(metavar="TASK", help="Which task; classify if not said.")] = None,
    out: Out = None,
    json: Json = False,
) -> None:
    """Train on data that come with foveal: handwritten digits, one a picture or strewn over scenes."""
    from foveal import api

    folder, shown = api.write_demo(task)
    console.tell(f"{shown.about}, written to {folder}")
    _train(json, folder, out or Path("runs") / "demo", task=task, minutes=shown.minutes, size=shown.size)


@_command
def train(
    data: Data,
    task: Annotated[
        str | None, typer.Option("--task", metavar="T", help="Guessed from the data if not said.")
    ] = None,
    out: Out = None,
    minutes: Minutes = 5.0,
    size: Annotated[
        int | None, typer.Option("--size", metavar="S", help="Side in pixels; from the data if not said.")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", metavar="NAME", help="lite0 to lite2, or scratch.")] = None,
    label: Label = None,
    text: Annotated[str | None, typer.Option("--text", metavar="COL", help="The text column.")] = None,
    group: Group = None,
    folds: Annotated[
        int | None, typer.Option("--folds", metavar="K", min=2, help="Score out of fold, in K folds.")
    ] = None,
    fix: Annotated[Path | None, typer.Option("--fix", metavar="CSV", help="Corrected labels. (planned)")] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Of all randomness.")] = 0,
    device: Device = None,
    json: Json = False,
) -> None:
    """Train on labelled files, test on unseen ones, and write a run folder with a report."""
    if fix is not None:
        _planned("train --fix")
    _train(
        json, data, out, task=task, minutes=minutes, size=size, model=model, label=label, group=group, text=text,
        folds=folds, seed=seed, device=device,
    )  # fmt: skip


@_command
def resume(run: RunFolder, json: Json = False) -> None:
    """Continue a run that was interrupted; it ends as if it had not been."""
    from foveal import api

    session = api.reopen(run)
    if session is None:
        _show_run(api.load(run), json)
    else:
        _work(json, session)


@_command
def check(data: Data, label: Label = None, group: Group = None, json: Json = False) -> None:
    """Say what the data are and what is wrong with them; nothing is trained or changed."""
    from foveal import api

    with console.Watch().showing() as watch:
        dataset, found = api.check(data, label=label, group=group, watch=watch)
    findings = [{"kind": f.kind, "message": f.message, "paths": list(f.paths)} for f in found]
    if json:
        console.result_json(
            {
                "data": str(data),
                "reading": dataset.reading,
                "classes": list(dataset.class_names),
                "examples": len(dataset.examples),
                "findings": findings,
            }
        )
        return
    console.result(*api.describe(dataset), *(console.finding_lines(findings, most=30) or ["nothing wrong was found"]))


@_command
def eval_(run: RunFolder, data: Data, label: Label = None, group: Group = None, json: Json = False) -> None:
    """Score a run on other labelled data, and say how far they are from what it learnt from."""
    import time

    from foveal import api

    started = time.perf_counter()
    finished = api.load(run)
    scores = finished.evaluate(data, label=label, group=group)
    seconds = {"total": round(time.perf_counter() - started, 2)}
    learnt_from, unreadable = scores.details["learnt_from"], scores.details["unreadable"]
    if learnt_from:
        console.tell(f"  ! {learnt_from} of these files were learnt from: on them this is no test of anything")
    console.tell(*(f"  ! left out: {reason}" for reason in unreadable))
    if json:
        console.result_json(
            {
                "task": finished.task.name,
                "run": str(run),
                "seconds": seconds,
                "test": {name: estimate.to_json() for name, estimate in scores.estimates.items()},
                "learnt_from": learnt_from,
                "unreadable": unreadable,
                **{name: scores.details[name] for name in ("distance", "recall", "fell")},
            }
        )
    else:
        console.result(*console.estimate_lines(scores.estimates), "", *api.differences(scores))


@_command
def predict(run: RunFolder, files: Files, out: OutFolder = None, json: Json = False) -> None:
    """Predict files; with --out, also write predictions.csv there, and what was found where in each picture.

    FILE may be a video, or camera:0, with `pip install 'foveal[video]'`.
    """
    from foveal import api, video

    finished = api.load(run)
    videos = [file for file in files if video.is_video(file)]
    rows, problems, written = api.predict_files(finished, [file for file in files if file not in videos], out)
    watched = []
    for file in videos:
        with console.Watch().showing() as watch:
            own, summary = api.predict_video(finished, file, out, watch)
        rows += own if json else []
        watched.append(summary)
    if json:
        unreadable = {str(file): reason for file, reason in problems.items()}
        shown = {"task": finished.task.name, "run": str(run), "predictions": rows, "unreadable": unreadable}
        shown |= {"videos": watched} if watched else {}
        console.result_json(shown if written is None else {**shown, "written": str(written)})
    else:
        for one in watched:
            drawn = f", drawn in {one['drawing']}" if "drawing" in one else ""
            console.result(f"{one['file']}  {one['frames']} frames, {one['frames_per_second']} a second{drawn}")
        console.result(*(f"{row['file']}  {row['label']}  {row['score']:.3f}" for row in rows))
    if written is not None:
        console.tell(f"written to {written}")
    if problems:
        raise DataError("\n  ".join([f"{len(problems)} of {len(files)} files cannot be read:", *problems.values()]))


@_command
def explain(run: RunFolder, files: Files, out: OutFolder = None, json: Json = False) -> None:
    """Show what the prediction of each file is the sum of, and how far that can be trusted; draw it into --out, or
    explanations/."""
    from foveal import api

    finished = api.load(run)
    rows = api.explain_files(finished, files, out if out is not None else Path("explanations"))
    if json:
        console.result_json({"task": finished.task.name, "run": str(run), "explanations": rows})
        return
    for row in rows:
        console.result(
            f"{row['file']}  {row['label']}  {row['probability']:.3f}",
            f"  score {row['score']:+.2f} = {row['bias']:+.2f} for the average example {row['cells']:+.2f} from the "
            f"cells of this one, drawn in {row['drawing']}",
            f"  {cast('Any', row['faithfulness'])['in_words']}",
            *console.best_lines(finished.best_method),
            *console.word_lines(cast("Any", row.get("words", ()))),
            *(f"  {name:<8} can be heard in {path}" for name, path in cast("Any", row.get("sounds", {})).items()),
            *console.neighbour_lines(row),
        )


@_command
def report(
    run: RunFolder,
    page: Annotated[bool, typer.Option("--page", help="The interactive page as one file. (planned)")] = False,
    json: Json = False,
) -> None:
    """Write the report again."""
    from foveal import api

    if page:
        _planned("report --page")
    path = api.load(run).write_report()
    if json:
        console.result_json({"run": str(run), "report": str(path)})
    else:
        console.result(f"report  {path}")


@_command
def export(
    run: RunFolder,
    int8: Annotated[bool, typer.Option("--int8", help="Integer weights. (planned)")] = False,
    max_drop: Annotated[float | None, typer.Option("--max-drop", metavar="P", help="With --int8. (planned)")] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="RUN/model.onnx if not said.")] = None,
    json: Json = False,
) -> None:
    """Write one ONNX file, preprocessing included, after it proved to agree with the run."""
    from foveal import api

    if int8 or max_drop is not None:
        _planned("export --int8")
    path, checked, worst = api.load(run).export_checked(out)
    if json:
        console.result_json({"run": str(run), "file": str(path), "checked": checked, "largest_difference": worst})
    else:
        console.result(f"{path}: agrees with the run on {checked} test files, to {worst:.1e} in probability")


@_command
def convolve(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A picture, a sound, or numbers (CSV, npy).")],
    kernel: Annotated[
        str,
        typer.Option("--kernel", metavar="K", help="sobel, scharr, gauss, sharpen, CSV or RUN:layer:channel."),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="HTML", help="FILE.convolve.html if not said; never overwritten.")
    ] = None,
    json: Json = False,
) -> None:
    """Show the operation itself: a kernel slid over a file, and the sum behind every value, as a page."""
    from foveal import api

    row = api.convolve_file(file, kernel, out)
    if json:
        console.result_json(row)
    else:
        console.result(*console.convolution_lines(row))


@_command
def plan(data: Data, minutes: Minutes = 5.0, device: Device = None, json: Json = False) -> None:
    """(planned) Time, memory and disk before spending them."""
    _planned("plan")


@_command
def audit(
    model: Annotated[
        Path, typer.Argument(metavar="RUN|MODEL.onnx", help="A run folder, or a picture classifier of any origin.")
    ],
    data: Annotated[
        Path | None, typer.Argument(metavar="DATA", help="Labelled examples to look at; the run's own if not said.")
    ] = None,
    fail_under: Annotated[
        float | None, typer.Option("--fail-under", metavar="X", help="Exit with 1 if the mean gain is less.")
    ] = None,
    json: Json = False,
) -> None:
    """Measure how far a run's explanations can be trusted, and whether they would tell of a shortcut; of an ONNX file
    what passes through it tell."""
    from foveal import api

    with console.Watch().showing() as watch:
        found = api.audit(model, data, watch=watch)
    method = next(iter(found["methods"]))
    gain = found["methods"][method]["gain"]["value"]
    if json:
        console.result_json(found)
    else:
        console.result(*console.audit_lines(found))
    if fail_under is not None and gain < fail_under:
        raise FovealError(f"the mean gain of {method} is {gain:.3f}, less than --fail-under {fail_under:g}")


@_command
def curve(run: RunFolder, json: Json = False) -> None:
    """(planned) What more data would buy."""
    _planned("curve")


@_command
def suggest(run: RunFolder, folder: Annotated[Path, typer.Argument(metavar="DIR")], json: Json = False) -> None:
    """(planned) What to label next."""
    _planned("suggest")


@_command
def serve(
    run: RunFolder, port: Annotated[int, typer.Option("--port", metavar="P")] = 8000, json: Json = False
) -> None:
    """(planned) HTTP API and the page."""
    _planned("serve")


def _train(json: bool, data: Path, out: Path | None, **options: Any) -> None:
    from foveal import api

    session = api.begin(data, out=out, **options)
    wanted = api.default_folder(data) if out is None else out
    if session.folder != wanted:
        console.tell(f"{wanted} exists; this run is {session.folder}")
    console.tell(*api.describe(session.plan.data))
    _work(json, session)


def _work(json: bool, session: Session) -> None:
    """Train or resume with the bar shown; an interrupt that ends it, or SIGTERM, says how to go on."""
    from foveal import api
    from foveal.interrupts import Interrupts

    signal.signal(signal.SIGTERM, _terminated)
    try:
        with console.Watch().showing() as watch, Interrupts(session, watch).caught() as interrupts:
            finished = api.finish(session, interrupts)
    except KeyboardInterrupt as stopped:
        console.tell(f"interrupted; what was done is kept, go on with: foveal resume {session.folder}")
        raise typer.Exit(_TERMINATED if isinstance(stopped, _Terminated) else _INTERRUPTED) from None
    _show_run(finished, json)


def _show_run(run: Run, json: bool) -> None:
    card = run.card
    console.tell(*console.finding_lines(card["findings"]))
    if json:
        console.result_json(
            {
                "task": run.task.name,
                "run": str(run.folder),
                "seconds": card["seconds"],
                "cost": card["cost"],
                "test": card["scores"]["test"],
                "train": card["scores"]["train"],
                "learning": card["learning"],
                "scored_on": card["scored_on"],
                "report": str(run.report),
            }
        )
        return
    console.result(*console.score_lines(card), "", card["learning"], card["scored_on"], card["handed_over"], "")
    console.result(
        f"report           {run.report}",
        f"next             foveal predict {run.folder} FILE, foveal explain {run.folder} FILE, "
        f"foveal export {run.folder}",
    )


def main() -> None:
    """The `foveal` command."""
    try:
        app()
    except BrokenPipeError:  # the reader of our output closed it, as `| head` does
        sys.stderr.close()
        raise SystemExit(1) from None
