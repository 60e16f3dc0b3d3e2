"""Question 4, what a fact's paraphrases share: the template's, the answer's or the fact's neurons."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from qloc.analysis.inference.means import mean
from qloc.analysis.localization.overlap import excesses
from qloc.analysis.localization.overlap_tests import result_of
from qloc.analysis.questions.context import AnalysisContext
from qloc.analysis.results import Question, Table
from qloc.arrays import Floats, Ints

ALL = "All relations"
PARTS = ("template", "answer", "fact")


def overlap_question(asked: AnalysisContext) -> Question:
    """H1a and H1b, and the decomposition of within-fact overlap."""
    plan = asked.plan
    found = excesses(asked.used, n_permutations=plan.n_permutations, seed=plan.seed)
    tests = tuple(
        result_of(asked.used, found[level], asked.draws, asked.study.fingerprint)
        for level in ("template", "answer")
    )
    parts = _parts(found["template"].between, found["answer"].between, found["answer"].within)
    beyond = found["template"].excess
    return Question(
        id="overlap",
        title="What do a fact's paraphrases share?",
        answer=_answer(parts, beyond),
        tests=tests,
        tables=(_decomposition(asked, parts), _by_relation(asked, parts, beyond)),
        method=(
            "Mean Dice overlap of a fact's queries, pair of templates by pair of templates, against the "
            "same two templates asked of other facts of the relation (template), and of other facts with "
            "the same answer (answer); what is left is the fact's. Tests permute sets within relation × "
            "template (H1a) and relation × template × answer (H1b), independently for each template, so "
            "that answers and templates cannot pass for facts. Facts without another fact of the same "
            "answer are not identified for H1b."
        ),
        references=(
            "Phipson & Smyth 2010, Permutation p-values should never be zero.",
            "Cameron, Gelbach & Miller 2011, Robust inference with multiway clustering, JBES 29.",
        ),
    )


def _parts(by_template: Floats, by_answer: Floats, within: Floats) -> Floats:
    """Overlap of any two facts, more of it with the same answer, more of it within the fact: (fact, part)."""
    both = ~np.isnan(by_template) & ~np.isnan(by_answer)
    columns = [by_template, by_answer - by_template, within - by_answer]
    return np.where(both[:, None], np.stack(columns, axis=1), np.nan)


def _decomposition(asked: AnalysisContext, parts: Floats) -> Table:
    """Table ``overlap_decomposition``: ``relation, part, overlap, low, high, facts``."""
    names, code = asked.relations
    rows = _stack(asked, ALL, parts, asked.clusters)
    for r, name in enumerate(names):
        here = np.where((code == r)[:, None], parts, np.nan)
        if not np.isnan(here).all():
            rows += _stack(asked, str(name), here, asked.clusters[1:])
    return Table.from_frame(
        pd.DataFrame(rows, columns=["relation", "part", "overlap", "low", "high", "facts"]),
        name="overlap_decomposition",
        title="Within-fact overlap, split into template, answer and fact",
        labels={"overlap": "mean Dice overlap"},
        note=(
            "Facts that share their answer with another fact of the relation. Template: what any two "
            "facts share under the same two templates; answer: what facts with the same answer share "
            "beyond it; fact: the rest."
        ),
    )


def _stack(
    asked: AnalysisContext, name: str, parts: Floats, clusters: tuple[Ints, ...]
) -> list[dict[str, Any]]:
    low, high = asked.intervals(parts, clusters)
    n = int(np.sum(~np.isnan(parts[:, 0])))
    return [
        {"relation": name, "part": part, "overlap": mean(column), "low": a, "high": b, "facts": n}
        for part, column, a, b in zip(PARTS, parts.T, low, high, strict=True)
    ]


def _by_relation(asked: AnalysisContext, parts: Floats, beyond: Floats) -> Table:
    """Table ``overlap_by_relation``: what is beyond the template, and how much of that is the answer's."""
    names, code = asked.relations
    rows = [_row(ALL, parts, beyond, asked.intervals(beyond[:, None]))]
    for r, name in enumerate(names):
        here = np.where(code == r, beyond, np.nan)
        if not np.isnan(here).all():
            ends = asked.intervals(here[:, None], asked.clusters[1:])
            rows.append(_row(str(name), parts[code == r], here, ends))
    return Table.from_frame(
        pd.DataFrame(rows),
        name="overlap_by_relation",
        title="Within-fact overlap beyond the template, by relation",
        labels={
            "beyond_template": "overlap beyond the template",
            "answer_share": "share of it that is the answer's",
            "facts_identified": "facts whose answer another fact has",
        },
        note="Without facts that share an answer (one-to-one relations), answer and fact are not told apart.",
    )


def _row(name: str, parts: Floats, beyond: Floats, ends: tuple[Floats, Floats]) -> dict[str, Any]:
    _, answer, fact = (mean(column) for column in parts.T)
    return {
        "relation": name,
        "beyond_template": mean(beyond),
        "beyond_template_low": ends[0][0],
        "beyond_template_high": ends[1][0],
        "answer_share": answer / (answer + fact) if answer + fact > 0 else float("nan"),
        "facts": int(np.sum(~np.isnan(beyond))),
        "facts_identified": int(np.sum(~np.isnan(parts[:, 0]))),
    }


def _answer(parts: Floats, beyond: Floats) -> str:
    means = [mean(column) for column in parts.T]
    if np.isnan(means[0]):
        if np.isnan(mean(beyond)):
            return "No two facts were asked with the same two templates: there is nothing to compare with."
        return (
            f"Paraphrases of a fact overlap by {mean(beyond):.2f} more than the same templates do over "
            "other facts. No facts share an answer, so whether that is the answer's or the fact's is not "
            "identified."
        )
    total = sum(means)
    n, n_all = int(np.sum(~np.isnan(parts[:, 0]))), int(np.sum(~np.isnan(beyond)))
    text = (
        f"Over the {n:,} of {n_all:,} facts whose answer another fact has: of a within-fact overlap of "
        f"{total:.2f}, {means[0]:.2f} is shared by any two facts asked with the same templates, "
        f"{means[1]:.2f} more by facts with the same answer, and {means[2]:.2f} is the fact's own."
    )
    above = means[1] + means[2]
    if above > 0 and means[1] >= 0:
        text += (
            f" So {100 * min(means[1] / above, 1):.0f}% of what goes beyond the template is shared by answer."
        )
    return text
