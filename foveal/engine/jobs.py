"""Which trainings a fine-tuned run consists of: one for each fold, or one that a validation part judges, and that of
the model handed over.

Knows splits and the closed form's heads, from which each training begins; trains nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from foveal.engine.learners import HANDED_OVER, ClosedForm
from foveal.engine.reading import Material

JUDGED = -2
"""The model that vouches for the one handed over, which learns as it did, and from what judges it too."""


@dataclass(frozen=True)
class Job:
    """One training: the rows it learns from, and those on which it is judged against the closed form.

    fold: whose model comes of it; start: the closed form's head that it begins with, learnt from the same rows.
    """

    fold: int
    start: int
    rows: list[int]
    judged: list[int]

    @property
    def name(self) -> str:
        """As learning curves are headed."""
        return {HANDED_OVER: "handed over", JUDGED: "judged"}.get(self.fold, f"fold {self.fold}")


def jobs_of(material: Material, closed: ClosedForm) -> list[Job]:
    """All that could be trained, the handed-over model's last; empty where there is nothing to judge by."""
    splits, seen = material.splits, closed.seen()
    handed_over = Job(HANDED_OVER, HANDED_OVER, seen, [])
    if splits.scored_out_of_fold:
        fold = splits.fold
        rows = {
            n: ([row for row in seen if fold[row] != n], [row for row in seen if fold[row] == n])
            for n in closed.scored()
        }
        return [*(Job(n, n, *rows[n]) for n in sorted(rows)), handed_over]
    learnt, judged = material.rows_of("train"), material.rows_of("val")
    return [Job(JUDGED, closed.solve_apart(learnt), learnt, judged), handed_over] if judged else []


def without_refit(jobs: Sequence[Job]) -> Sequence[Job]:
    """Those that suffice: what a validation part judges can be handed over itself."""
    return [replace(job, fold=HANDED_OVER) for job in jobs if job.fold == JUDGED] or jobs


def handed_over_first(jobs: Sequence[Job]) -> list[Job]:
    """Folds that are trained after it, for no longer than it was, do not flatter it."""
    return sorted(jobs, key=lambda job: job.fold != HANDED_OVER)
