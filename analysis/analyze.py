"""The analysis of one store: the questions, in order, each with a sentence, tests and full tables.

=================  ==================================================================================
question           tables (columns are documented where each is made)
=================  ==================================================================================
``counts``         ``counts_by_relation``, ``left_out``
``consistency``    ``consistency_overall``, ``consistency_by_relation``, ``by_attribute`` (where facts
                   have a categorical attribute)
``ratio``          ``ki_by_threshold`` (CS2), ``ki_by_threshold_cs1``, ``ki_by_relation``, ``rarefaction``,
                   ``set_sizes``; with two methods ``ki_across_methods``, ``ki_method_pairs``; H2
``overlap``        ``overlap_decomposition``, ``overlap_by_relation``; tests H1a, H1b
``stability``      ``reliability_by_relation``, ``tilt_distribution``; tests H3, H4
``methods``        ``method_agreement``; test H9; with two methods only, unless the plan confirms H9
``behaviour``      ``behaviour_slopes``, ``behaviour_by_kappa``; tests H10a, H10b, H10c
``interventions``  ``intervention_effects``, ``intervention_contrasts``, ``query_kn_mapping``,
                   ``dose_response``; where queries were asked again ``query_kn_ceiling``; tests H5a,
                   H5b, H5c and H5, which is descriptive where they were not
``synapses``       ``synapse_effects``, ``synapse_contrasts``, ``synapse_contrasts_activation``;
                   tests H6a, H6b
``edits``          ``edit_scores``, ``edit_scores_probability``, ``edit_by_class``, ``edit_contrasts``; tests
                   H7a, H7b, H8a–e, H10d; as the two above only where the store has it
``sensitivity``    ``multiverse``, ``by_budget``
``layers``         ``layer_profile``
``welch``          ``welch``; the published test, descriptive
``heatmap``        ``heatmap_most_consistent``, ``heatmap_typical``, ``heatmap_least_consistent``,
                   ``activation_typical``
``quality``        ``completeness``, ``completeness_by_layer``, ``by_method``
=================  ==================================================================================
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
import scipy
import statsmodels
import xarray as xr

from qloc.analysis.inference.multiplicity import in_families
from qloc.analysis.inputs.study import Study
from qloc.analysis.questions.behaviour import behaviour_question
from qloc.analysis.questions.consistency import consistency_question
from qloc.analysis.questions.context import AnalysisContext
from qloc.analysis.questions.counts import counts_of, counts_question
from qloc.analysis.questions.edits import edits_question
from qloc.analysis.questions.inconsistent_share import ratio_question
from qloc.analysis.questions.interventions import interventions_question
from qloc.analysis.questions.layers import layers_question
from qloc.analysis.questions.methods import methods_question
from qloc.analysis.questions.overlap import overlap_question
from qloc.analysis.questions.quality import quality_question
from qloc.analysis.questions.sensitivity import sensitivity_question
from qloc.analysis.questions.single_facts import heatmap_question
from qloc.analysis.questions.stability import stability_question
from qloc.analysis.questions.synapses import synapses_question
from qloc.analysis.questions.welch import welch_question
from qloc.analysis.results import Question, StudyResult
from qloc.canonical_json import digest
from qloc.plan import AnalysisPlan
from qloc.progress import Progress
from qloc.version import __version__

PLAN_DIGEST = "analysis plan, sha256"
"""Where a result's provenance has the digest of its plan: the plan's, as canonical JSON."""

_SHOWN = ("model", "facts", "site", "fingerprint", "layout", "excluded", "synthetic")
"""Attributes of a store that have a place of their own in a result."""

QUESTIONS = (
    counts_question,
    consistency_question,
    ratio_question,
    overlap_question,
    stability_question,
    methods_question,
    behaviour_question,
    interventions_question,
    synapses_question,
    edits_question,
    sensitivity_question,
    layers_question,
    welch_question,
    heatmap_question,
    quality_question,
)

OF_PHASES: Final[Mapping[Callable[[AnalysisContext], Question], str]] = {
    interventions_question: "interventions",
    synapses_question: "synapses",
    edits_question: "edits",
}
"""Questions that take more than signals, and the group of the store that they read."""


def analyze(
    study: Study, plan: AnalysisPlan | None = None, *, progress: Progress | None = None
) -> StudyResult:
    """Answer every question about one study.

    Parameters
    ----------
    study : Study
    plan : what is asked, fixed before looking; the defaults where it is None.
    progress : told of each question that is answered.

    Returns
    -------
    StudyResult : the same for the same study and plan.

    Raises
    ------
    InputError : the store lacks the plan's method.
    FloorError : the plan's attribution threshold is below what the store's panels keep.

    Examples
    --------
    >>> from qloc.simulation.simulate import simulate
    >>> study = simulate(facts=40, relations=2, templates=4, seed=1)
    >>> result = analyze(study, AnalysisPlan(n_permutations=99, n_bootstrap=99))
    >>> [question.id for question in result.questions]
    ['counts', 'consistency', 'ratio', 'overlap', 'stability', 'behaviour', 'sensitivity', 'layers', 'welch',
    'heatmap', 'quality']
    """
    asked = AnalysisContext(study, plan or AnalysisPlan())
    return gathered(asked, answered(asked, progress or Progress(quiet=True)))


def gathered(asked: AnalysisContext, answers: Sequence[Question]) -> StudyResult:
    """The result that answers to some questions make, p-values corrected over all of them."""
    study, questions = asked.study, in_families(answers, asked.plan)
    model, facts = (
        words(study.attrs.get("model", "unnamed model")),
        words(study.attrs.get("facts", "unnamed facts")),
    )
    return StudyResult(
        title=f"{model} on {facts}",
        model=f"{model} ({architecture(asked)})",
        facts=f"{facts} ({size_of(asked)})",
        questions=questions,
        provenance=provenance(asked),
        counts=counts_of(asked),
        plan=asked.plan.model_dump(mode="json"),
        synthetic=synthetic(study),
        notes=notes(asked, questions),
    )


def answered(asked: AnalysisContext, progress: Progress) -> list[Question]:
    """The questions that this store can answer, with their answers."""
    chosen, found = questions_of(asked), []
    with progress.stage("analyze", len(chosen), unit="questions") as advance:
        for question in chosen:
            found.append(question(asked))
            advance(1)
    return found


def questions_of(asked: AnalysisContext) -> tuple[Callable[[AnalysisContext], Question], ...]:
    """What is asked of this store.

    That on methods takes two of them, or a plan that confirms it; those on a phase take the phase.
    """
    dropped = {question for question, group in OF_PHASES.items() if not asked.study.datasets.get(group)}
    if len(asked.study.methods) < 2 and "H9" not in asked.plan.confirmatory:
        dropped.add(methods_question)
    return tuple(question for question in QUESTIONS if question not in dropped)


def provenance(asked: AnalysisContext) -> dict[str, str]:
    """Where every number comes from: store, method, rule, versions, seed."""
    attrs, plan = asked.study.attrs, asked.plan
    return {
        "store fingerprint": asked.study.fingerprint,
        "site": words(attrs.get("site", "")),
        "attribution methods in the store": ", ".join(asked.study.methods),
        "tier": "dense" if asked.study.dense else "panel",
        "knowledge neurons": f"{plan.method}, {asked.sets.rule}",
        "extraction": words({name: value for name, value in attrs.items() if name not in _SHOWN}),
        "draws": f"{plan.n_permutations} permutations, {plan.n_bootstrap} resamples, seed {plan.seed}",
        PLAN_DIGEST: digest(plan.model_dump(mode="json")),
        **versions(),
    }


def versions() -> dict[str, str]:
    """What computed the numbers."""
    modules = (np, scipy, pd, xr, statsmodels)
    return {
        "qloc": __version__,
        "versions": ", ".join(f"{module.__name__} {module.__version__}" for module in modules),
    }


def notes(asked: AnalysisContext, questions: Sequence[Question]) -> tuple[str, ...]:
    """What a reader must know before any figure."""
    lines = []
    if not asked.study.complete:
        lines.append("The store is unfinished: these results are of the units that are in, and will change.")
    if synthetic(asked.study):
        lines.append(
            "Synthetic: model or data are for demonstration and show nothing about other language models."
        )
    tests = (test for question in questions for test in question.tests)
    tested = {test.name for test in tests if test.role != "descriptive"}
    missing = [name for name in asked.plan.confirmatory if name not in tested]
    if missing:
        lines.append(
            f"The plan confirms {', '.join(missing)}, which this store cannot tell: "
            "it lacks their phase or arms."
        )
    return tuple(lines)


def synthetic(study: Study) -> bool:
    """Whether model or facts are planted, or embedded in qloc for demonstration."""
    names = (str(study.attrs.get(name, "")) for name in ("model", "facts"))
    return bool(study.attrs.get("synthetic", False)) or any(
        name == "embedded" or name.startswith("embedded:") for name in names
    )


def architecture(asked: AnalysisContext) -> str:
    """Model type and size, such as ``gpt2, 12 layers of 3,072 neurons``."""
    kind = asked.study.attrs.get("model_type", "")
    return f"{kind}{', ' if kind else ''}{asked.sets.n_layers} layers of {asked.sets.n_neurons:,} neurons"


def size_of(asked: AnalysisContext) -> str:
    """How much was asked, such as ``260 facts of 11 relations, 1,772 queries``."""
    n_relations = len(asked.relations[0])
    return f"{asked.sets.n_facts:,} facts of {n_relations:,} relations, {asked.sets.n_queries:,} queries"


def words(value: Any) -> str:
    """An attribute in words: a name where it has one, else its JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        for name in ("name", "id", "source"):
            if isinstance(value.get(name), str):
                return str(value[name])
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
