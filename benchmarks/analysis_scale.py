"""How long every part of an analysis takes, and how much memory, on a simulated store with every phase.

    python benchmarks/analysis_scale.py [--facts 25000] [--relations 40] [--templates 8] [--store DIR]
        [--only NAME,NAME] [--results]

Two stores are simulated on disk (seed 0; the second is of another network asked the same, signals alone):
sets of three methods, outcomes of all interventions for all queries, of all edits for all facts, as the
default plan asks. They are made in a process of their own; what is timed and what is in memory here is the
analysis and the reading of the stores alone: every question of ``qloc analyze``, the tables of ``qloc
reproduce chen``, ``qloc compare`` and ``qloc report``. ``--store`` keeps the stores there, and takes up what
is there; they need 4 GB while they are written. Seconds of the processor tell more than others where a
machine does something else too.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from qloc.analysis.analyze import gathered, questions_of
from qloc.analysis.comparison.models import compare_models
from qloc.analysis.questions.context import AnalysisContext
from qloc.analysis.reproductions.chen_tables import LAYOUTS
from qloc.analysis.reproductions.published import published
from qloc.analysis.reproductions.published_tables import reproduce
from qloc.plan import AnalysisPlan
from qloc.simulation.simulate import simulate
from qloc.workflows.analyze import open_study, report

RESULTS = Path(__file__).parent / "results" / "analysis-scale.md"
HEAD = ("| part | seconds | of the processor | peak GB so far |", "|---|---|---|---|")
METHODS = ("ig", "sig", "amig")


def make(folder: Path, size: dict[str, int]) -> None:
    """Both stores."""
    given: dict[str, Any] = {**size, "answers_per_relation": 60, "unit_facts": 256}
    simulate(folder / "one.zarr", **given, methods=METHODS, phases=("interventions", "edits"))
    simulate(folder / "other.zarr", **given, network=1)


class Clock:
    """Rows of the table: what was done, and what it took."""

    def __init__(self, only: str) -> None:
        self.rows: list[str] = []
        self._only = only.split(",") if only else []
        self._seconds = self._own = 0.0

    def timed(self, name: str, work: Callable[[], Any]) -> Any:
        """Do a part, unless others are asked for."""
        if self._only and name not in self._only:
            return None
        start, used = time.perf_counter(), time.process_time()
        found = work()
        seconds, own = time.perf_counter() - start, time.process_time() - used
        self._seconds, self._own = self._seconds + seconds, self._own + own
        self._row(name, seconds, own)
        return found

    def end(self) -> None:
        """The last row."""
        self._row("all", self._seconds, self._own)

    def _row(self, name: str, seconds: float, own: float) -> None:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        self.rows.append(f"| {name} | {seconds:.1f} | {own:.1f} | {peak:.2f} |")
        print(self.rows[-1], flush=True)


def measure(folder: Path, only: str) -> Iterator[str]:
    """Every part in turn; lines of Markdown."""
    plan, clock = AnalysisPlan(), Clock(only)
    asked = AnalysisContext(open_study(folder / "one.zarr"), plan)
    sizes = {**asked.study.facts.sizes, **asked.study.queries.sizes}
    yield (
        f"{sizes['fact']:,} facts, {sizes['query']:,} queries, {len(asked.study.methods)} methods; "
        f"{len(plan.thresholds)} thresholds, {plan.n_permutations} permutations, "
        f"{plan.n_bootstrap} resamples."
    )
    print(*HEAD, sep="\n")
    questions = [
        clock.timed(question.__name__.removesuffix("_question"), partial(question, asked))
        for question in questions_of(asked)
    ]
    answers = [one for one in questions if one]
    clock.timed("result", lambda: gathered(asked, answers).save(folder / "results" / "one"))
    one = folder / "one.zarr"
    clock.timed("reproduce chen", lambda: reproduce(open_study(one), LAYOUTS, published("chen")))
    both = [folder / "one.zarr", folder / "other.zarr"]
    clock.timed("compare", lambda: compare_models(open_study(both)).save(folder / "results" / "comparison"))
    clock.timed("report", lambda: report([folder / "results"], "html", folder / "report.html"))
    clock.end()
    yield "\n".join([*HEAD, *clock.rows])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (("facts", 25_000), ("relations", 40), ("templates", 8)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--store", type=Path, help="folder to keep the stores in")
    parser.add_argument("--only", default="", help="parts, separated by commas")
    parser.add_argument("--results", action="store_true", help=f"write {RESULTS.name}")
    given = parser.parse_args()
    size = {name: getattr(given, name) for name in ("facts", "relations", "templates")}
    with tempfile.TemporaryDirectory(prefix="analysis-scale-") as temporary:
        folder = given.store or Path(temporary)
        made = get_context("spawn").Process(target=make, args=(folder, size))
        made.start()
        made.join()
        if made.exitcode:
            sys.exit("The stores could not be made.")
        parts = list(measure(folder, given.only))
    if given.results:
        about = f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores"
        load = f"load {os.getloadavg()[0]:.1f}"
        text = ["# Analysis of a large store", f"`python {' '.join(sys.argv)}`", f"{about}, {load}.", *parts]
        RESULTS.write_text("\n\n".join(text) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
