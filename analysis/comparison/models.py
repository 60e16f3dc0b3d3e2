"""Comparison of models, paired by fact and template: every measure of each model, and their differences.

Only measures that do not depend on the number of paraphrases are compared, at one static threshold: κ, D,
K_I(k₀) and the share known. Otsu's threshold differs between models, so shares below it cannot be compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Final

import numpy as np
import pandas as pd

from qloc.analysis.analyze import EVERY_QUERY, PLAN_DIGEST, synthetic, versions, words
from qloc.analysis.comparison.measures import MEASURE_SYMBOLS, Measures, few_models, rank_correlation
from qloc.analysis.comparison.shares_by_threshold import shares_by_threshold
from qloc.analysis.comparison.studies import Studies
from qloc.analysis.inference.means import mean
from qloc.analysis.inference.multiplicity import correct
from qloc.analysis.localization.consistency import filled, relation_codes
from qloc.analysis.results import (
    Question,
    StudyResult,
    Table,
    TestResult,
    Verdict,
    estimate_words,
)
from qloc.analysis.verdicts import sentence_of
from qloc.analysis.wording import number, percent
from qloc.canonical_json import digest
from qloc.plan import AnalysisPlan
from qloc.references import cited
from qloc.text.rounding import counted

ID: Final = "models"
"""Id of the question that compares models."""

_WORDS: Final[Mapping[tuple[Verdict, ...], str]] = {
    ("holds",): "Differences that hold",
    ("no relevant difference",): "No relevant difference",
    ("undecided",): "Undecided",
    ("cannot be told", "not identified"): "It cannot be told",
}


def compare_models(studies: Studies, plan: AnalysisPlan | None = None) -> StudyResult:
    """Compare models on the facts and templates that all of them were asked, and know.

    κ, D and K_I(k₀) run over the queries that every model knows; the share known over all common ones. A
    difference is a mean over facts of the fact's own difference; p flips the signs of whole relations (of
    answers, where so few relations could not reach ``alpha``); Holm over all pairs and measures.

    Parameters
    ----------
    studies : Studies
        The models' studies, on their common facts.
    plan : AnalysisPlan, optional
        Method, threshold, k₀, draws and seed; by default those of ``AnalysisPlan()``.

    Returns
    -------
    StudyResult
        One question, ``models``, with tables ``models``, ``model_differences``, ``models_by_relation`` and
        ``models_ki``; its summary says each model's measures, and how two of them differ.

    Raises
    ------
    InputError
        A store does not have the plan's method.
    FloorError
        The threshold is below a store's floor.

    Examples
    --------
    >>> from qloc.simulation.simulate import simulate
    >>> study = simulate(facts=40, relations=2, templates=4, seed=1)
    >>> result = compare_models(Studies({"a": study, "b": study}), AnalysisPlan(n_permutations=99))
    >>> {test.name: test.estimate for test in result.tests()}
    {'κ, b − a': 0.0, 'D, b − a': 0.0, 'K_I(k₀), b − a': 0.0, 'share known, b − a': 0.0}
    """
    plan = plan or AnalysisPlan()
    studies = replace(studies, every_query=plan.queries == "all")
    comparison = _Comparison(studies, plan)
    question = comparison.question()
    first = next(iter(studies))
    here = comparison.of_queries
    n_facts, n_queries, n_pairs = int(comparison.of_facts.sum()), int(here.sum()), int(np.sum(~here))
    return StudyResult(
        title=f"{', '.join(studies.models)} compared",
        model=f"{counted(len(studies), 'model')}: {', '.join(studies.models)}",
        facts=f"{words(first.attrs.get('facts', 'unnamed facts'))} "
        f"({counted(n_facts, 'fact')} and {counted(n_queries, 'query')} that all models were asked)",
        questions=(question,),
        provenance={
            **{f"store fingerprint, {model}": studies[model].fingerprint for model in studies.models},
            "knowledge neurons": f"{comparison.plan.method}, threshold {comparison.plan.threshold:g}",
            PLAN_DIGEST: digest(comparison.plan.model_dump(mode="json")),
            **versions(),
        },
        counts={
            "common facts": n_facts,
            "common queries": n_queries,
            "queries known by all": int(np.sum(studies.known_by_all & here)),
            **({"common minimal pairs": n_pairs} if n_pairs else {}),
            **{
                f"queries of {m} only": len(s.column("queries", "fact")) - len(here)
                for m, s in studies.studies.items()
            },
        },
        plan=comparison.plan.model_dump(mode="json"),
        synthetic=any(synthetic(study) for study in studies),
        notes=(
            few_models(len(studies)),
            *((EVERY_QUERY,) if studies.every_query else ()),
            *differently_extracted(studies),
        ),
        summary=comparison.summary(question.tests),
    )


def by_verdict(tests: tuple[TestResult, ...]) -> Iterator[str]:
    """Say of which differences each verdict is.

    Parameters
    ----------
    tests : tuple of TestResult
        Differences between models, corrected.

    Yields
    ------
    str
        A sentence for each verdict that there is.
    """
    for verdicts, heading in _WORDS.items():
        names = [
            f"{test.name} ({estimate_words(test)})" if estimate_words(test) else test.name
            for test in tests
            if test.verdict in verdicts
        ]
        if names:
            yield f"{heading}: {', '.join(names)}."


def differently_extracted(studies: Studies) -> Iterator[str]:
    """Describe settings that differ between the stores and affect their neuron sets.

    Parameters
    ----------
    studies : Studies
        The models' studies.

    Yields
    ------
    str
        One sentence for each such setting.
    """
    for name in ("site", "quadrature", "steps", "answer_tokens", "dtype"):
        values = [str(study.attrs.get(name, "not recorded")) for study in studies]
        if len(set(values)) > 1:
            each = ", ".join(
                f"{value} ({model})" for model, value in zip(studies.models, values, strict=True)
            )
            yield f"The stores were extracted with different {name}: {each}."


@dataclass(frozen=True)
class _Comparison(Measures):
    """The measures as a question: an answer in words, tests and tables."""

    def question(self) -> Question:
        tests = tuple(
            self.test(name, first, second)
            for first, second in combinations(self.studies.models, 2)
            for name in MEASURE_SYMBOLS
        )
        corrected = correct(tests, family="models compared", alpha=self.plan.alpha)
        n_models = len(self.studies)
        return Question(
            id=ID,
            title="How do the models differ on the same facts?",
            answer=" ".join([*_differences(corrected, n_models), few_models(n_models)]),
            tests=corrected,
            tables=(
                self.model_table(),
                self.difference_table(corrected),
                self.relation_table(),
                shares_by_threshold(self.studies, self.plan),
            ),
            method=(
                "Paired by fact and template: only queries that all models were asked, with the same prompt; "
                "κ, D and K_I(k₀) over those that all of them know, so that no model's ignorance passes for "
                "inconsistency. A difference is the mean over facts of the fact's own difference; its p "
                "flips the signs of whole relations (of answers, where so few could not reach α), "
                "Holm over all pairs and measures. K_I(k₀) is at one static threshold of CS2: Otsu's, "
                f"another in every model, compares nothing. {few_models(len(self.studies))}"
            ),
            references=cited("chen2025", where="§2"),
        )

    def summary(self, tests: tuple[TestResult, ...]) -> tuple[str, ...]:
        models = self.studies.models
        each = "; ".join(
            f"{model}: κ {number(mean(self.values['kappa'][model]))}, "
            f"K_I({self.plan.k0}) {percent(mean(self.values['ki'][model]))}, "
            f"{percent(mean(self.values['known'][model]))} known"
            for model in models
        )
        return (f"On the same facts, {each}.", *_differences(tests, len(models)))

    def model_table(self) -> Table:
        rows = []
        for model, sets in self.sets.items():
            used = filled(sets.known())
            row: dict[str, Any] = {
                "model": model,
                "layers": sets.n_layers,
                "neurons": sets.n_neurons,
                "set_size": float(used.sizes().mean()) if used.n_queries else np.nan,
            }
            rows.append({**row, **self.row(model, np.ones(sets.n_facts, dtype=bool), intervals=True)})
        return Table.from_frame(
            pd.DataFrame(rows),
            name="models",
            title="The models on the facts and templates that all were asked, and know",
            labels={
                **_labels(self.plan.k0),
                "neurons": "neurons a layer",
                "set_size": "knowledge neurons a query",
            },
            note="Intervals are cluster-robust by relation and answer.",
        )

    def relation_table(self) -> Table:
        first = next(iter(self.sets.values()))
        names, code = relation_codes(first)
        rows = [
            {"relation": str(relation), "model": model, **self.row(model, code == r, intervals=False)}
            for r, relation in enumerate(names)
            if self.of_facts[code == r].any()
            for model in self.studies.models
        ]
        return Table.from_frame(
            pd.DataFrame(rows),
            name="models_by_relation",
            title="The models by relation",
            labels=_labels(self.plan.k0),
            note="Means over the same facts; no test.",
        )

    def difference_table(self, tests: tuple[TestResult, ...]) -> Table:
        pairs = [(a, b, name) for a, b in combinations(self.studies.models, 2) for name in MEASURE_SYMBOLS]
        rows = [
            {
                "measure": MEASURE_SYMBOLS[name],
                "models": f"{second} − {first}",
                "difference": test.estimate,
                "difference_low": test.interval.low if test.interval else np.nan,
                "difference_high": test.interval.high if test.interval else np.nan,
                "facts": test.n["facts"],
                "rank_correlation": rank_correlation(self.values[name][first], self.values[name][second]),
                "p_adjusted": test.p_adjusted,
            }
            for (first, second, name), test in zip(pairs, tests, strict=True)
        ]
        return Table.from_frame(
            pd.DataFrame(rows),
            name="model_differences",
            title="Differences between models, paired by fact",
            labels={"rank_correlation": "rank correlation over facts"},
            note="Rank correlation: whether the same facts score high in both models; descriptive.",
        )


def _differences(tests: tuple[TestResult, ...], n_models: int) -> tuple[str, ...]:
    """Sentences on what differs: one a measure for two models, one a verdict for more."""
    return tuple(map(sentence_of, tests)) if n_models == 2 else tuple(by_verdict(tests))


def _labels(k0: int) -> dict[str, str]:
    return {
        "facts": "facts with two queries that all models know",
        "kappa": "κ, other answers",
        "dice": "D, pairwise overlap",
        "ki": f"K_I({k0}) by CS2",
        "known": "share known",
    }
