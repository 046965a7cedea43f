"""`python -m benchmarks [NAME ...]`: measure, append to results.jsonl, rewrite docs/benchmarks.md.

Knows the order of things. What is run is `_suite.py`, how it is measured `_measure.py`, how it is shown `_table.py`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks._data import DataAbsentError
from benchmarks._measure import ROOT, CommandFailedError, measure, surroundings
from benchmarks._programs import Benchmark, Case, Program, warm_probe
from benchmarks._suite import BENCHMARKS
from benchmarks._table import load, rewrite, summarise, targets

RESULTS = ROOT / "benchmarks" / "results.jsonl"
PAGE = ROOT / "docs" / "benchmarks.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0, or 1 where a command failed; a benchmark without its data is skipped with a line."""
    args = _parse(arguments)
    if args.list:
        for benchmark in BENCHMARKS:
            print(f"{benchmark.name}: {len(benchmark.seeds)} seeds; {', '.join(targets(benchmark))}")
            print(f"    {benchmark.description}")
        return 0
    failed = False
    if not args.table:
        for benchmark in BENCHMARKS:
            if not args.names or benchmark.name in args.names:
                failed |= not _run(benchmark, args.seeds)
    rewrite(PAGE, load(RESULTS), BENCHMARKS)
    print(f"wrote {PAGE.relative_to(ROOT)}")
    return int(failed)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = [benchmark.name for benchmark in BENCHMARKS]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which; all without a name: {', '.join(names)}")
    parser.add_argument("--seeds", type=int, metavar="N", help="seeds 1 to N, instead of the benchmark's own")
    parser.add_argument("--list", action="store_true", help="say what there is and what is wanted of it")
    parser.add_argument("--table", action="store_true", help="measure nothing, rewrite docs/benchmarks.md")
    args = parser.parse_args(arguments)
    if unknown := sorted(set(args.names) - set(names)):
        parser.error(f"no benchmark is called {', '.join(unknown)}; there are: {', '.join(names)}")
    if args.seeds is not None and args.seeds < 1:
        parser.error(f"--seeds {args.seeds}: expected 1 or more")
    return args


def _run(benchmark: Benchmark, count: int | None) -> bool:
    """Every seed of every program, seed by seed, so that programs take turns; whether all of them ran."""
    seeds = benchmark.seeds if count is None else tuple(range(1, count + 1))
    complete = True
    with tempfile.TemporaryDirectory(prefix="foveal-bench-") as scratch:
        try:
            if benchmark.prepare is not None:
                benchmark.prepare()
            probe = warm_probe(benchmark.warm, Path(scratch)) if benchmark.warm is not None else None
        except DataAbsentError as error:
            print(f"skipped {benchmark.name}: {error}", flush=True)
            return True
        except CommandFailedError as error:
            print(f"failed {benchmark.name}: {error}", file=sys.stderr, flush=True)
            return False
        for seed in seeds:
            for program in benchmark.programs:
                with tempfile.TemporaryDirectory(prefix="foveal-bench-") as folder:
                    complete &= _run_one(benchmark, program, Case(seed, Path(folder), probe))
    return complete


def _run_one(benchmark: Benchmark, program: Program, case: Case) -> bool:
    try:
        measured = measure(program.command(case))
    except DataAbsentError as error:
        print(f"skipped {benchmark.name}: {error}", flush=True)
        return True
    except CommandFailedError as error:
        print(f"failed {benchmark.name}, {program.name}, seed {case.seed}: {error}", file=sys.stderr, flush=True)
        return False
    record = {
        "benchmark": benchmark.name, "program": program.name, "seed": case.seed, **surroundings(), **measured
    }  # fmt: skip
    printed = measured["printed"]
    if isinstance(printed, dict) and isinstance(printed.get("versions"), dict):
        record["versions"] = printed["versions"]
    numbers = ", ".join(f"{metric.name} {summarise(metric, [record])}" for metric in program.metrics)
    print(f"{benchmark.name}, {program.name}, seed {case.seed}: {numbers}", flush=True)
    with RESULTS.open("a") as file:
        file.write(json.dumps(record) + "\n")
    return True


if __name__ == "__main__":
    sys.exit(main())
