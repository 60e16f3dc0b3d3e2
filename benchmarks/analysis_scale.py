"""How long every part of an analysis takes, and how much memory, on a simulated store.

    python benchmarks/analysis_scale.py [--facts 25000] [--relations 40] [--templates 8]

The sets of neurons are planted (seed 0) and kept in memory: what is timed is the statistics, not the reading
of a store.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import xarray as xr

from qloc.analysis.asked import Asked
from qloc.analysis.families import in_families
from qloc.analysis.questions.behaviour import behaviour_question
from qloc.analysis.questions.consistency import consistency_question
from qloc.analysis.questions.methods import methods_question
from qloc.analysis.questions.overlap import overlap_question
from qloc.analysis.questions.ratio import ratio_question
from qloc.analysis.questions.sensitivity import sensitivity_question
from qloc.analysis.questions.stability import stability_question
from qloc.analysis.study import Study
from qloc.neurons import NeuronSets
from qloc.plan import AnalysisPlan
from qloc.planted import plant
from qloc.vocabulary import METHOD, QUERY

QUESTIONS = (
    consistency_question,
    ratio_question,
    overlap_question,
    stability_question,
    methods_question,
    behaviour_question,
    sensitivity_question,
)
METHODS = ("ig", "grad_x_act")


class Planted(Study):
    """A study whose sets are planted, not read: thinner at higher thresholds, others by the second method."""

    def neurons(
        self, method: str = "ig", threshold: float | None = None, *, top: int | None = None
    ) -> NeuronSets:
        """The planted sets, each member kept with a probability that falls with the threshold."""
        sets: NeuronSets = self.attrs["planted"]
        keep = 1.0 - (threshold or 0.2) / 2 if top is None else min(1.0, top / 20)
        rng = np.random.default_rng([METHODS.index(method), int(1000 * keep)])
        member = sets.member.copy()
        member.data = rng.random(member.nnz) < keep
        member.eliminate_zeros()
        rule = f"threshold {threshold}" if top is None else f"top {top}"
        return replace(sets, member=member, method=method, rule=rule)

    def neurons_at(self, thresholds: Sequence[float], method: str = "ig") -> Iterator[NeuronSets]:
        """The planted sets at each threshold."""
        return (self.neurons(method, threshold) for threshold in thresholds)


def study_of(facts: int, relations: int, templates: int) -> Study:
    """A study in memory with what the questions above ask for."""
    sets = plant(
        facts=facts, relations=relations, templates=templates, answers_per_relation=60, n_neurons=1024, seed=0
    ).sets()
    rng = np.random.default_rng(0)
    n, q = sets.n_queries, sets.queries
    said = np.where(q["known"], 0, 1 + rng.integers(5, size=n))
    queries = xr.Dataset(
        {
            "fact": (QUERY, q["fact"]),
            "known": (QUERY, q["known"].astype(np.int8)),
            "argmax": (QUERY, said.astype(np.int32)),
            "log_probability": (QUERY, q["log_probability"]),
            "answer_token_id": ((QUERY, "answer_token"), said[:, None].astype(np.int32)),
            "candidate_log_probability": ((QUERY, "candidate"), rng.standard_normal((n, 60), np.float32)),
        }
    )
    signals = xr.Dataset(
        {"attribution": ((METHOD, "slot"), np.zeros((2, 1)))}, coords={METHOD: list(METHODS)}
    )
    signals["panel_floor"] = ("fact", np.full(facts, 0.05))
    groups = {"queries": queries, "facts": xr.Dataset({"id": ("fact", sets.facts["id"])}), "signals": signals}
    return Planted(groups, {"planted": sets})


class Bounded(Asked):
    """An analysis whose store answers from 0.05 up."""

    floor = 0.05  # type: ignore[assignment]  # a property where there is a store


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--facts", type=int, default=25_000)
    parser.add_argument("--relations", type=int, default=40)
    parser.add_argument("--templates", type=int, default=8)
    parser.add_argument("--only", default="", help="questions, separated by commas")
    given = parser.parse_args()
    asked = Bounded(study_of(given.facts, given.relations, given.templates), AnalysisPlan())
    print(
        f"{asked.sets.n_facts:,} facts, {asked.sets.n_queries:,} queries, {asked.sets.member.nnz:,} members"
    )
    print("| question | seconds | of the processor | peak GB so far |\n|---|---|---|---|")
    whole, begun, questions = time.perf_counter(), time.process_time(), []
    for question in QUESTIONS:
        if not given.only or question.__name__.removesuffix("_question") in given.only.split(","):
            start, used = time.perf_counter(), time.process_time()
            questions.append(question(asked))
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            seconds, own = time.perf_counter() - start, time.process_time() - used
            print(f"| {questions[-1].id} | {seconds:.1f} | {own:.1f} | {peak:.2f} |", flush=True)
    in_families(questions, asked.plan)
    print(f"| all | {time.perf_counter() - whole:.1f} | {time.process_time() - begun:.1f} | {peak:.2f} |")


if __name__ == "__main__":
    main()
