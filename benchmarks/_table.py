"""results.jsonl -> docs/benchmarks.md: what is between the markers is written anew, everything else is kept.

Knows records and the table of benchmarks. Of each program on each machine it shows the newest commit that was
measured, and of each seed the newest run; results.jsonl keeps them all.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks._programs import SECONDS, Benchmark, Metric, Program, Record
from benchmarks._suite import find

BEGIN = "<!-- benchmarks: written by `python -m benchmarks --table`, do not edit below -->"
END = "<!-- benchmarks: end -->"
_HEAD = """# Benchmarks

Every number here was measured by the command beside it, on the hardware named, and lies with all others in
`benchmarks/results.jsonl`. Run them with `make bench`, or one with `make bench ARGS=trashnet`; the data sets are
those of `../shared/data`, without which a benchmark is skipped. Scores are means with their standard error over seeds
(resplits share pictures, so the error says how much the draw matters, not how other data would fare); times, rates
and memory are medians with the least and the most. Peak memory is that of the largest process.
"""


def rewrite(path: Path, records: Sequence[Record], benchmarks: Sequence[Benchmark]) -> None:
    """Write the tables into `path` between the markers; without the file or markers they are added at its end."""
    text = path.read_text() if path.is_file() else _HEAD
    if BEGIN not in text:
        text = f"{text.rstrip()}\n\n{BEGIN}\n{END}\n"
    before, rest = text.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{before}{BEGIN}\n\n{render(records, benchmarks)}\n{END}{after}")


def load(path: Path) -> list[Record]:
    """The records of a results file, oldest first."""
    return [json.loads(line) for line in path.read_text().splitlines() if line] if path.is_file() else []


def render(records: Sequence[Record], benchmarks: Sequence[Benchmark]) -> str:
    """A section for each benchmark, in the order of the table of benchmarks."""
    return "\n".join(_section(benchmark, records) for benchmark in benchmarks)


def current(records: Iterable[Record], benchmark: str, program: str, machine: object) -> list[Record]:
    """The runs that count, by seed: those at the newest commit, the newest of each seed."""
    mine = [r for r in records if (r["benchmark"], r["program"], r["machine"]) == (benchmark, program, machine)]
    by_seed = {int(str(r["seed"])): r for r in mine if r["commit"] == mine[-1]["commit"]}
    return [by_seed[seed] for seed in sorted(by_seed)]


def summarise(metric: Metric, records: Sequence[Record]) -> str:
    """Mean ± standard error, or median (least–most), with its unit."""
    values = [metric.of(record) for record in records]
    shown, unit = f"{centre(metric, records):.{metric.digits}f}", f" {metric.unit}" if metric.unit else ""
    if len(values) == 1:
        return shown + unit
    if metric.mean:
        error = statistics.stdev(values) / math.sqrt(len(values))
        return f"{shown} ± {error:.{metric.digits}f}{unit}"
    return f"{shown}{unit} ({min(values):.{metric.digits}f}–{max(values):.{metric.digits}f})"


def centre(metric: Metric, records: Sequence[Record]) -> float:
    """The mean or the median over the records."""
    values = [metric.of(record) for record in records]
    return statistics.fmean(values) if metric.mean else statistics.median(values)


def targets(benchmark: Benchmark) -> list[str]:
    """What we want, in words; empty where nothing is promised."""
    wanted = [f"{m.name} {_wanted(m)}" for program in benchmark.programs for m in program.metrics if _wanted(m)]
    if benchmark.ratio_at_least is not None:
        wanted.append(f"{SECONDS} ≥ {benchmark.ratio_at_least:g} × foveal's")
    return wanted


def _wanted(metric: Metric) -> str:
    parts = [f"{sign} {bound:g} {metric.unit}".rstrip()
             for sign, bound in (("≥", metric.at_least), ("≤", metric.at_most)) if bound is not None]  # fmt: skip
    return " and ".join(parts)


def _section(benchmark: Benchmark, records: Sequence[Record]) -> str:
    lines = [f"## {benchmark.name}", "", benchmark.description, "", *(f"{note}\n" for note in benchmark.notes)]
    lines += [f"Target: {', '.join(targets(benchmark))}.", ""]
    machines = []
    for record in records:
        if record["benchmark"] == benchmark.name and record["machine"] not in machines:
            machines.append(record["machine"])
    for machine in machines:
        lines += _on_machine(benchmark, records, machine)
    if not machines:
        lines += ["Not measured yet.", ""]
    return "\n".join(lines)


def _on_machine(benchmark: Benchmark, records: Sequence[Record], machine: object) -> list[str]:
    runs = {p.name: current(records, benchmark.name, p.name, machine) for p in benchmark.programs}
    reference = _reference(benchmark, records, machine, {r["seed"] for rows in runs.values() for r in rows})
    rows = [(reference[0], reference[1])] if reference else []
    rows += [(program, runs[program.name]) for program in benchmark.programs if runs[program.name]]
    names = [metric.name for metric in benchmark.programs[0].metrics]
    head = ["program", *names, *(["time against foveal"] if benchmark.beside else []), "runs"]
    lines = [f"On {describe_machine(machine)}:", "", _row(head), _row(["---"] * len(head))]
    for program, found in rows:
        by_name = {metric.name: metric for metric in program.metrics}
        cells = [_judged(by_name[name], found) for name in names]
        ratio = [_ratio(benchmark, program, found, reference)] if benchmark.beside else []
        lines.append(_row([program.name, *cells, *ratio, str(len(found))]))
    return [*lines, "", *(_provenance(program, found) for program, found in rows), ""]


def _reference(
    benchmark: Benchmark, records: Sequence[Record], machine: object, seeds: set[object]
) -> tuple[Program, list[Record]] | None:
    """The program that these stand beside, and its runs on the same machine and seeds."""
    other = find(benchmark.beside) if benchmark.beside else None
    if other is None:
        return None
    program = other.programs[0]
    found = [r for r in current(records, other.name, program.name, machine) if r["seed"] in seeds]
    return (program, found) if found else None


def _ratio(
    benchmark: Benchmark, program: Program, found: Sequence[Record], reference: tuple[Program, list[Record]] | None
) -> str:
    """Ratio of the median wall times over the seeds that both were run with."""
    if reference is None:
        return "–"
    if program == reference[0]:
        return "1"
    shared_seeds = {r["seed"] for r in found} & {r["seed"] for r in reference[1]}
    if not shared_seeds:
        return "–"
    metric = next(m for m in program.metrics if m.name == SECONDS)
    sides = [[r for r in rows if r["seed"] in shared_seeds] for rows in (found, reference[1])]
    ratio = centre(metric, sides[0]) / centre(metric, sides[1])
    bound = benchmark.ratio_at_least
    return f"{ratio:.1f} ×" + ("" if bound is None else _verdict(ratio >= bound))


def _judged(metric: Metric, records: Sequence[Record]) -> str:
    value = centre(metric, records)
    met = (metric.at_least is None or value >= metric.at_least) and (
        metric.at_most is None or value <= metric.at_most
    )
    return summarise(metric, records) + (_verdict(met) if _wanted(metric) else "")


def _verdict(met: bool) -> str:
    return ", met" if met else ", **not met**"


def describe_machine(machine: object) -> str:
    """One line: CPU, cores, memory, and whether it multiplies bfloat16 natively."""
    assert isinstance(machine, dict)
    has = [name for name in ("avx512_bf16", "amx") if machine[name]] or ["neither avx512_bf16 nor amx"]
    return (
        f"{machine['cpu']} ({machine['model']}), {machine['cores']} cores, {machine['memory_gib']} GiB, "
        f"{machine['system']}, {', '.join(has)}"
    )


def _provenance(program: Program, found: Sequence[Record]) -> str:
    last = found[-1]
    versions = last["versions"]
    assert isinstance(versions, dict)
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    commit = f"commit {last['commit']}" if last["commit"] else "before the first commit"
    seeds = ", ".join(str(r["seed"]) for r in found)
    day, backends = str(last["date"])[:10], "".join(f"; {text}" for text in _backends(last))
    return f"- {program.name}: `{found[0]['command']}`; seeds {seeds}; {day}, {commit}; {listed}{backends}."


def _backends(record: Record) -> list[str]:
    """What each candidate of the printed JSON ran on, where it says so."""
    printed = record["printed"]
    assert isinstance(printed, dict)
    parts = {name: part["backend"] for name, part in printed.items() if isinstance(part, dict) and "backend" in part}
    return [f"{name}: {backend}" for name, backend in parts.items()]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
