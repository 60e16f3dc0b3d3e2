"""The analysis of one store: the questions, in order, each with a sentence, tests and full tables.

=================  ==================================================================================
question           tables (columns are documented where each is made)
=================  ==================================================================================
``counts``         ``counts_by_relation``, ``left_out``
``consistency``    ``consistency_overall``, ``consistency_by_relation``, ``consistency_by_fact`` (up to 24
                   facts of each relation), ``by_attribute`` (where facts
                   have a categorical attribute)
``ratio``          ``ki_by_threshold`` (CS2), ``ki_by_threshold_cs1``, ``ki_by_relation``, ``rarefaction``,
                   ``set_sizes``; with two methods ``ki_across_methods``, ``ki_method_pairs``; H2
``overlap``        ``overlap_decomposition``, ``overlap_by_relation``, ``overlap_components`` and, if the plan
                   asks for it, ``overlap_components_bayes``; tests H1a,
                   H1b
``stability``      ``reliability_by_relation``, ``tilt_distribution``; tests H3, H4
``methods``        ``method_agreement``; test H9; with two methods only, unless the plan confirms H9
``behaviour``      ``behaviour_slopes``, ``behaviour_by_kappa``; tests H10a, H10b, H10c
``interventions``  ``intervention_effects``, ``intervention_contrasts``, ``query_kn_mapping``,
                   ``dose_response``; where queries were asked again ``query_kn_ceiling``; tests H5a,
                   H5b, H5c and H5, which is descriptive where they were not
``synapses``       ``synapse_effects``, ``synapse_contrasts``, ``synapse_contrasts_activation``, with probes
                   ``synapse_words``;
                   tests H6a, H6b
``edits``          ``edit_scores``, ``edit_scores_probability``, ``edit_by_class``, ``edit_contrasts``; tests
                   H7a, H7b, H8a–e, H10d, H12c; as the two above only where the store has it
``entailments``    ``edit_entailments``, ``edit_entailments_all``, ``edit_entailments_probability``,
                   ``edit_entailment_moves``; tests H13a–d
``tracing``        ``tracing_totals``, ``tracing_residual``, ``tracing_mlp``, ``tracing_attention``,
                   ``tracing_layers``; with facts and pairs ``tracing_kinds``; tests H12a, H12b
``sensitivity``    ``multiverse``, ``multiverse_joint``, ``by_budget``
``layers``         ``layer_profile``
``level``          ``localization_level``; where the store has Gram matrices
``welch``          ``welch``; the published test, descriptive
``heatmap``        ``heatmap_most_consistent``, ``heatmap_typical``, ``heatmap_least_consistent``,
                   ``activation_typical``
``quality``        ``completeness``, ``completeness_by_layer``, ``error_bounds``, ``nodes_by_layer``,
                   ``by_method``
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

from qloc.accuracy.readable_text import unreadable_text
from qloc.analysis.alerts import alerts
from qloc.analysis.deviations import registration_notes
from qloc.analysis.inference.multiplicity import in_families
from qloc.analysis.inputs.study import Study
from qloc.analysis.localization.overlap.bayes_components import refuse_without_numpyro
from qloc.analysis.plain_summary import plain_summary
from qloc.analysis.questions.behaviour import behaviour_question
from qloc.analysis.questions.consistency import consistency_question
from qloc.analysis.questions.context import AnalysisContext
from qloc.analysis.questions.counts import PAIRS, counts_question, pairs_in_words, study_counts
from qloc.analysis.questions.edits import edits_question
from qloc.analysis.questions.entailments import entailments_question
from qloc.analysis.questions.inconsistent_share import ratio_question
from qloc.analysis.questions.interventions import interventions_question
from qloc.analysis.questions.layers import layers_question
from qloc.analysis.questions.localization_level import level_question
from qloc.analysis.questions.methods import methods_question
from qloc.analysis.questions.overlap import overlap_question
from qloc.analysis.questions.quality import quadrature_notes, quality_question
from qloc.analysis.questions.sensitivity import sensitivity_question
from qloc.analysis.questions.single_facts import heatmap_question
from qloc.analysis.questions.stability import stability_question
from qloc.analysis.questions.synapses import synapses_question
from qloc.analysis.questions.syntax import syntax_question
from qloc.analysis.questions.tracing import tracing_question
from qloc.analysis.questions.welch import welch_question
from qloc.analysis.results import Question, StudyResult
from qloc.canonical_json import digest
from qloc.plan import AnalysisPlan
from qloc.progress import Progress
from qloc.registration import Registration
from qloc.text.rounding import counted
from qloc.version import __version__
from qloc.vocabulary import PERMUTED

PLAN_DIGEST = "analysis plan, sha256"
"""Where a result's provenance has the digest of its plan: the plan's, as canonical JSON."""

EVERY_QUERY: Final = "Every query counts as known, whether or not the model answers it: the plan says so."
"""Note of a result whose plan has ``queries: all``."""

_SHOWN = ("model", "facts", "site", "fingerprint", "layout", "excluded", "synthetic")
"""Attributes of a store that a result shows under names of their own."""

QUESTIONS: Final = (
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
    entailments_question,
    tracing_question,
    sensitivity_question,
    layers_question,
    level_question,
    syntax_question,
    welch_question,
    heatmap_question,
    quality_question,
)
"""Every question, in the order of a report."""

OF_PHASES: Final[Mapping[Callable[[AnalysisContext], Question], str]] = {
    interventions_question: "interventions",
    synapses_question: "synapses",
    edits_question: "edits",
    entailments_question: "entailments",
    tracing_question: "tracing",
    level_question: "grams",
}
"""Questions that take more than signals, and the group of the store that they read."""


def analyze(
    study: Study,
    plan: AnalysisPlan | None = None,
    *,
    registration: Registration | None = None,
    progress: Progress | None = None,
) -> StudyResult:
    """Answer every question about one study.

    Parameters
    ----------
    study : Study
        What is analyzed.
    plan : AnalysisPlan, optional
        What is asked, fixed before looking. Where it is not given, that of the registration, else the
        defaults: then everything is exploratory.
    registration : Registration, optional
        What was locked before looking; notes tell every deviation from it.
    progress : Progress, optional
        Told of each question that is answered; silent where it is not given.

    Returns
    -------
    StudyResult
        The same for the same study and plan.

    Raises
    ------
    InputError
        The store lacks the plan's method.
    FloorError
        The plan's attribution threshold is below what the store's panels keep.
    MissingDependencyError
        The plan asks for components by Bayes, and numpyro is not installed.

    Examples
    --------
    >>> from qloc.simulation.simulate import simulate
    >>> study = simulate(facts=40, relations=2, templates=4, seed=1)
    >>> result = analyze(study, AnalysisPlan(n_permutations=99, n_bootstrap=99))
    >>> [question.id for question in result.questions]
    ['counts', 'consistency', 'ratio', 'overlap', 'stability', 'behaviour', 'sensitivity', 'layers', 'level',
    'welch', 'heatmap', 'quality']
    """
    locked = registration.plan.analysis if registration else AnalysisPlan()
    context = AnalysisContext(study, plan or locked, registration)
    if context.plan.bayes:  # before any work
        refuse_without_numpyro()
    return gathered(context, answered(context, progress or Progress(quiet=True)))


def gathered(context: AnalysisContext, answers: Sequence[Question]) -> StudyResult:
    """Return the result that answers to some questions make, with p-values corrected over all of them.

    Parameters
    ----------
    context : AnalysisContext
        The study and its plan.
    answers : sequence of Question
        As the questions give them, uncorrected.

    Returns
    -------
    StudyResult
        Of these questions, in their order.
    """
    study, questions = context.study, in_families(answers, context.plan)
    counts, missing = study_counts(context), missing_groups(study)
    model, facts = (
        words(study.attrs.get("model", "unnamed model")),
        words(study.attrs.get("facts", "unnamed facts")),
    )
    return StudyResult(
        title=f"{model} on {facts}",
        model=f"{model} ({architecture(context)})",
        facts=f"{facts} ({size_of(context)})",
        questions=questions,
        provenance=provenance(context),
        counts=counts,
        plan=context.plan.model_dump(mode="json"),
        synthetic=synthetic(study),
        notes=notes(context, questions),
        summary=plain_summary(questions),
        alerts=alerts(questions, counts, missing, _unreadable(study)),
    )


def _unreadable(study: Study) -> str:
    """Say so where the model cannot read the text that damage is measured on."""
    edits = study.datasets.get("edits")
    if edits is None or "base_text_nats" not in edits:
        return ""
    return unreadable_text(edits["base_text_nats"].values, edits.attrs)


def answered(context: AnalysisContext, progress: Progress) -> list[Question]:
    """Answer the questions that this store can answer.

    Parameters
    ----------
    context : AnalysisContext
        The study and its plan.
    progress : Progress
        Told of each question that is answered.

    Returns
    -------
    list of Question
        In order, p-values uncorrected.
    """
    chosen, answers = questions_of(context), []
    with progress.stage("analyze", len(chosen), unit="questions") as advance:
        for question in chosen:
            answers.append(question(context))
            advance(1)
    return answers


def questions_of(context: AnalysisContext) -> tuple[Callable[[AnalysisContext], Question], ...]:
    """Return the questions that this store can answer.

    The question on methods takes two of them, or a plan that confirms H9; that on syntax takes groups of
    minimal pairs, or a plan that confirms H11; those on a phase take the phase.

    Parameters
    ----------
    context : AnalysisContext
        The study and its plan.

    Returns
    -------
    tuple of functions
        Each takes the context and returns a Question.
    """
    lacking = missing_groups(context.study)
    dropped = {question for question, group in OF_PHASES.items() if group in lacking}
    if len(context.study.methods) < 2 and "H9" not in context.plan.confirmatory:
        dropped.add(methods_question)
    asked = {"H11a", "H11b", "H11c"} & {*context.plan.confirmatory}
    if not asked and not context.has_groups:
        dropped.add(syntax_question)
    return tuple(question for question in QUESTIONS if question not in dropped)


def missing_groups(study: Study) -> tuple[str, ...]:
    """Return the groups that some question reads, and the study lacks.

    Parameters
    ----------
    study : Study
        What is analyzed.

    Returns
    -------
    tuple of str
        Each once, in the order of the questions.
    """
    return tuple(dict.fromkeys(group for group in OF_PHASES.values() if not study.datasets.get(group)))


def provenance(context: AnalysisContext) -> dict[str, str]:
    """Return where every number comes from: store, method, rule, versions, seed.

    Parameters
    ----------
    context : AnalysisContext
        The study and its plan.

    Returns
    -------
    dict of str to str
        Name → value, as a report shows both.
    """
    attrs, plan = context.study.attrs, context.plan
    return {
        "store fingerprint": context.study.fingerprint,
        "site": words(attrs.get("site", "")),
        "attribution methods in the store": ", ".join(context.study.methods),
        "tier": "dense" if context.study.dense else "panel",
        "knowledge neurons": f"{plan.method}, {context.sets.rule}",
        "extraction": words({name: value for name, value in attrs.items() if name not in _SHOWN}),
        "draws": f"{plan.n_permutations} permutations, {plan.n_bootstrap} resamples, seed {plan.seed}",
        PLAN_DIGEST: digest(plan.model_dump(mode="json")),
        **_registered(context),
        **versions(),
    }


def _registered(context: AnalysisContext) -> dict[str, str]:
    locked = context.registration
    return {"registration": f"{locked.locked}, sha256 {locked.sha256}"} if locked else {}


def versions() -> dict[str, str]:
    """Return what computed the numbers.

    Returns
    -------
    dict of str to str
        The versions of qloc and of the libraries under it.
    """
    modules = (np, scipy, pd, xr, statsmodels)
    return {
        "qloc": __version__,
        "versions": ", ".join(f"{module.__name__} {module.__version__}" for module in modules),
    }


def notes(context: AnalysisContext, questions: Sequence[Question]) -> tuple[str, ...]:
    """Return what a reader must know before any figure.

    Parameters
    ----------
    context : AnalysisContext
        The study and its plan.
    questions : sequence of Question
        With their tests, corrected.

    Returns
    -------
    tuple of str
        Sentences: unfinished or synthetic stores, how the plan was fixed and what deviates from it, paths
        that did not converge or whose error nothing bounds, and confirmatory tests that the store cannot run.
    """
    lines = []
    if not context.study.complete:
        lines.append("The store is unfinished: these results are of the units that are in, and will change.")
    if synthetic(context.study):
        lines.append(
            "Synthetic: model or data are for demonstration and show nothing about other language models."
        )
    if context.study.every_query:
        lines.append(EVERY_QUERY)
    lines.extend(registration_notes(context.registration, context.plan, context.study))
    lines.extend(quadrature_notes(context.study))
    tests = (test for question in questions for test in question.tests)
    tested = {test.name for test in tests if test.role != "descriptive"}
    missing = [name for name in context.plan.confirmatory if name not in tested]
    if missing:
        lines.append(
            f"The plan confirms {', '.join(missing)}, which this store cannot tell: "
            "it lacks their phase or arms."
        )
    return tuple(lines)


def synthetic(study: Study) -> bool:
    """Return whether model or facts are planted, or embedded in qloc for demonstration.

    Parameters
    ----------
    study : Study
        By its attributes.

    Returns
    -------
    bool
        False for studies of other models and facts.
    """
    names = (str(study.attrs.get(name, "")).removeprefix(PERMUTED) for name in ("model", "facts"))
    return bool(study.attrs.get("synthetic", False)) or any(
        name == "embedded" or name.startswith("embedded:") for name in names
    )


def architecture(context: AnalysisContext) -> str:
    """Return model type and size in words, and how the weights were quantized where they were.

    Parameters
    ----------
    context : AnalysisContext
        The study and its plan.

    Returns
    -------
    str
        Such as ``gpt2, 12 layers of 3,072 neurons``.
    """
    attrs = context.study.attrs
    kind, quantization = attrs.get("model_type", ""), attrs.get("quantization", "")
    size = f"{context.sets.n_layers} layers of {context.sets.n_neurons:,} neurons"
    weights = f"weights {words(quantization)}" if quantization else ""
    return ", ".join(part for part in (kind, size, weights) if part)


def size_of(context: AnalysisContext) -> str:
    """Return how much was asked, in words.

    Parameters
    ----------
    context : AnalysisContext
        The study and its plan.

    Returns
    -------
    str
        Such as ``260 facts of 11 relations, 1,772 queries``, and minimal pairs behind it.
    """
    counts, relation = study_counts(context), context.sets.facts["relation"]
    pairs, n = pairs_in_words(counts), len(np.unique(relation[context.of_headline]))
    if context.pairs_alone:
        return f"{pairs} of {counted(n, 'paradigm')}"
    facts, queries = counted(counts["facts"], "fact"), counted(counts["queries"], "query")
    asked = f"{facts} of {counted(n, 'relation')}, {queries}"
    return f"{asked}, and {pairs}" if counts[PAIRS] else asked


def words(value: Any) -> str:
    """Return an attribute of a store in words.

    Parameters
    ----------
    value : object
        As the store has it.

    Returns
    -------
    str
        Its name where it has one, else its JSON.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        for name in ("name", "id", "source"):
            if isinstance(value.get(name), str):
                return str(value[name])
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
