"""Power of a study before it is made: planted studies of its size, and the tests themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from qloc.errors import InputError, message
from qloc.hypothesis_registry import REGISTRY
from qloc.progress import Progress

if TYPE_CHECKING:
    import pandas as pd

    from qloc.analysis.hypothesis_test import TestResult
    from qloc.analysis.inputs.study import Study

SIMULATED: Final = tuple(
    "H1a H1b H3 H5 H5a H5b H6a H6b H7a H7b H8a H8b H8c H8d H8e H10a H10b H10c H10d".split()
)
"""Hypotheses whose power planted studies tell."""

_OF_SIGNALS: Final = ("H1a", "H1b", "H3", "H10a", "H10b", "H10c")
_SMALL: Final[dict[str, Any]] = {"n_layers": 2, "n_neurons": 128, "n_tokens": 6}
"""Planted networks: how many neurons nobody uses does not matter to a test."""


def size_of(study: Study) -> dict[str, Any]:
    """Return the parameters of planted studies that are of a study's size.

    Parameters
    ----------
    study : Study
        Any; of phases nothing is read.

    Returns
    -------
    dict of str to Any
        ``facts_by_relation`` (of facts that were asked and do not leak; relations whose facts have an answer
        of their own each come last), ``one_to_one`` (the number of these), ``templates``,
        ``answers_per_relation`` (of the others), ``missing`` and ``known``, parameters of
        :class:`qloc.simulation.design.Planting`.

    Raises
    ------
    InputError
        No fact was asked.
    """
    fact = study.column("queries", "fact").astype(np.int64)
    pair = np.bincount(fact, study.column("queries", "kind") != "fact", study.facts.sizes["fact"]) > 0
    counted = (study.column("facts", "n_queries") > 0) & (study.column("facts", "leaks") == 0) & ~pair
    if not counted.any():
        raise InputError(message("facts", 0, "one that was asked", str(study), "Give --facts instead"))
    relation = study.column("facts", "relation").astype(str)
    names, of = np.unique(relation[counted], return_inverse=True)
    queries = counted[fact]
    template = study.column("queries", "template").astype(str)
    asked = [len(np.unique(template[queries & (relation[fact] == name)])) for name in names]
    answer = study.column("facts", "object").astype(str)[counted]
    answers = np.array([len(np.unique(answer[of == r])) for r in range(len(names))])
    templates = round(float(np.mean(asked)))
    n_facts = np.bincount(of)
    own = answers == n_facts
    return {
        "facts_by_relation": tuple(n_facts[np.argsort(own, kind="stable")].tolist()),
        "one_to_one": int(own.sum()),
        "templates": templates,
        "answers_per_relation": 1 if own.all() else round(float(answers[~own].mean())),
        "missing": float(np.clip(1 - queries.sum() / (counted.sum() * templates), 0, 1)),
        "known": float(np.mean(study.column("queries", "known")[queries] == 1)),
    }


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What planted studies are asked."""

    hypotheses: tuple[str, ...]
    alpha: float
    effect: float
    planting: dict[str, Any]

    def results(self, seed: int) -> list[TestResult]:
        """Plant one study and run the tests on it."""
        from qloc.analysis import hypotheses
        from qloc.analysis.inference.draws import Draws
        from qloc.simulation.interventions import Effects
        from qloc.simulation.simulate import simulate

        signals_alone = set(self.hypotheses) <= set(_OF_SIGNALS)
        heads = {"n_heads": 2 if {"H6a", "H6b"} & set(self.hypotheses) else 0}
        study = simulate(
            **{**_SMALL, **heads, "leaking": 0.0, **self.planting, "seed": seed},
            effects=None if signals_alone else Effects(size=self.effect, seed=seed),
        )
        draws = Draws(alpha=self.alpha, seed=seed)
        tests = []
        for name in self.hypotheses:
            entry = REGISTRY[name]
            run = getattr(hypotheses, entry.function)
            tests.append(run(study, **entry.arguments, draws=draws))
        return tests


def power(
    study: Study | None = None,
    *,
    facts: int = 400,
    relations: int = 20,
    templates: int = 8,
    hypotheses: Sequence[str] = ("H1a", "H1b", "H3", "H10a"),
    tests: int = 1,
    alpha: float = 0.05,
    effect: float = 1.0,
    simulations: int = 20,
    seed: int = 0,
    progress: Progress | None = None,
    **planting: Any,
) -> pd.DataFrame:
    """Return what a study of some size can show, from planted studies and the tests themselves.

    Parameters
    ----------
    study : Study, optional
        A study whose size is taken (:func:`size_of`), in place of ``facts``, ``relations``, ``templates``.
    facts, relations, templates : int
        Size of the study: facts, relations between which they are dealt, and templates of each.
    hypotheses : sequence of str
        Names, of :data:`SIMULATED`.
    tests : int, default 1
        Number of confirmatory tests m: a test must hold at α/m, which Holm's correction asks of the first.
    alpha : float, default 0.05
        Level α of all of them together.
    effect : float, default 1.0
        Factor of the planted effects on answers (H5 to H8; ``qloc.simulate``'s ``Effects(size=…)``).
    simulations : int, default 20
        Number of planted studies.
    seed : int, default 0
        Seed of the first; the next ones count on.
    progress : Progress, optional
        Told of each study.
    **planting : Any
        Further parameters of :class:`qloc.simulation.design.Planting`, such as ``fact_strength=0.1``.

    Returns
    -------
    pandas.DataFrame
        One row a hypothesis: ``hypothesis``, ``planted`` (mean estimate, in its own unit), ``power``
        (share of studies where it holds) with ``power_low`` and ``power_high`` (95%, Clopper and Pearson),
        ``level`` (α/m),
        ``least_p`` (the least p that any data of this size could give; median), ``attainable`` (whether it
        holds at that p), ``detectable`` (effect that 4 of 5 such studies would find: median) and ``margin``
        (the smallest effect of interest), ``unit`` of both. NaN where no study gives one.

    Raises
    ------
    InputError
        A name is no such hypothesis, or a number is outside its domain.

    References
    ----------
    docs/statistics.md#power
    """
    import pandas as pd

    _check(hypotheses, {"simulations": simulations, "tests": tests})
    size = size_of(study) if study is not None else _given(facts, relations, templates, planting)
    planting = {**size, **planting}
    asked = _Asked(hypotheses=tuple(hypotheses), alpha=alpha, effect=effect, planting=planting)
    found: list[list[TestResult]] = []
    with (progress or Progress(quiet=True)).stage("power", simulations, unit="planted studies") as advance:
        for number in range(simulations):
            found.append(asked.results(seed + number))
            advance(1)
    return pd.DataFrame([_row(results, alpha / tests) for results in zip(*found, strict=True)])


def _given(facts: int, relations: int, templates: int, planting: dict[str, Any]) -> dict[str, Any]:
    if "facts_by_relation" in planting:
        return {"templates": templates}
    return {"facts": facts, "relations": relations, "templates": templates}


def _check(hypotheses: Sequence[str], counts: dict[str, Any]) -> None:
    problems = [
        message("hypothesis", name, f"one of {', '.join(SIMULATED)}", "power", "Correct it")
        for name in hypotheses
        if name not in SIMULATED
    ]
    problems += [
        message(name, value, "a whole number ≥ 1", "power", "Correct it")
        for name, value in counts.items()
        if not isinstance(value, int) or value < 1
    ]
    if problems:
        raise InputError(problems)


def _row(results: Sequence[TestResult], level: float) -> dict[str, Any]:
    """Sum up one hypothesis over planted studies."""
    from scipy.stats import binomtest

    from qloc.analysis.verdicts import OPPOSITE_SHARE

    held = sum(_holds(test, level) for test in results)
    ends = binomtest(held, len(results)).proportion_ci(0.95)
    least = _median([test.least_p for test in results])
    of_asked = level * (1.0 if results[0].p_opposite is None else 1 - OPPOSITE_SHARE)
    return {
        "hypothesis": results[0].name,
        "planted": float(np.mean([test.estimate for test in results])),
        "power": held / len(results),
        "power_low": float(ends.low),
        "power_high": float(ends.high),
        "level": level,
        "least_p": least,
        "attainable": bool(least <= of_asked),
        "detectable": _median([_detectable(test, of_asked) for test in results]),
        "margin": np.nan if results[0].margin is None else results[0].margin,
        "unit": results[0].margin_unit,
    }


def _holds(test: TestResult, level: float) -> bool:
    """Return whether a test holds at a level, both sides of its verdict together."""
    from qloc.analysis.verdicts import shared_level, verdict_of

    p, opposite = shared_level(test.p, test.p_opposite)
    verdict = verdict_of(p=p, p_opposite=opposite, p_equivalence=test.p_equivalence, alpha=level)
    return verdict == "holds"


def _detectable(test: TestResult, level: float) -> float | None:
    """Return the minimal detectable effect, in the unit of the smallest effect of interest."""
    from qloc.analysis.inference.detectable import detectable_effect

    effect = detectable_effect(test, level)
    if effect is None or not test.standardized:
        return effect
    return effect * test.effect.value / test.estimate if test.effect and test.estimate else None


def _median(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None and not np.isnan(value)]
    return float(np.median(known)) if known else np.nan


def power_text(frame: pd.DataFrame) -> str:
    """Write what a study can show as text for a terminal.

    Parameters
    ----------
    frame : pandas.DataFrame
        As :func:`power` returns it.

    Returns
    -------
    str
        A table, and a sentence on each test that no data of this size can decide.
    """
    from qloc.text.rounding import number, share
    from qloc.text.tables import table

    heads = ["hypothesis", "planted", "power", "95%", "least p", "detectable", "of interest", ""]
    found: list[dict[str, Any]] = [dict(row) for _, row in frame.iterrows()]
    rows = [
        [
            row["hypothesis"],
            row["planted"],
            share(row["power"]),
            f"{share(row['power_low'])} to {share(row['power_high'])}",
            *(row[name] for name in ("least_p", "detectable", "margin", "unit")),
        ]
        for row in found
    ]
    lines = [table(heads, rows)]
    for row in found:
        if not row["attainable"]:
            least = row["least_p"]
            why = "gives no p" if np.isnan(least) else f"allows no p below {number(least)}"
            told = f"  {row['hypothesis']} cannot be told: a study of this size {why}"
            lines.append(f"{told}, at level {number(row['level'])}.")
    return "\n".join(lines)
