"""What came out of a study in a few sentences, for whoever reads no further."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from qloc.analysis.hypothesis_test import Role, TestResult
from qloc.analysis.results import Question, Table
from qloc.analysis.verdicts import sentence_of
from qloc.hypothesis_registry import ACCOUNTS, REGISTRY
from qloc.text.rounding import Cell, available, counted, estimated, share, share_with_interval
from qloc.vocabulary import PAIR

N_TOLD: Final = 3
"""Tests that the summary tells: one of a question, those of the plan first."""

_RANKS: Final[Mapping[Role, int]] = {"confirmatory": 0, "exploratory": 1, "descriptive": 2}
_OPEN: Final = ("undecided", "cannot be told")


def plain_summary(questions: Sequence[Question]) -> tuple[str, ...]:
    """Return what came out, in three to five sentences.

    Parameters
    ----------
    questions : sequence of Question
        With their tests, corrected.

    Returns
    -------
    tuple of str
        How far paraphrases share neurons; one test of each of up to three questions, those of the plan first,
        with estimate, interval and n; and how many predictions of each account were seen. Fewer where a study
        lacks them.
    """
    return tuple(filter(None, [_shared(questions), *map(_told, _leading(questions)), _accounts(questions)]))


def _shared(questions: Sequence[Question]) -> str:
    """The share of neurons that paraphrases have in common, and what unrelated facts have."""
    tables = {table.name: table for question in questions for table in question.tables}
    overall, relations = tables.get("consistency_overall"), tables.get("consistency_by_relation")
    rows = {row.get("score"): row for row in _rows(overall) if row.get("queries") == "known"}
    dice, kappa = rows.get("dice", {}), rows.get("kappa", {})
    if not available(dice.get("mean")):
        return ""
    there = [row for row in _rows(relations) if row.get("facts")]
    used = _of_facts(there, tables.get("counts_by_relation"))
    n = counted(int(float(dice.get("facts") or 0)), "fact")
    where = f" of {counted(len(used), 'relation')}" if used else ""
    others = ""
    weights = [(float(row["facts"]), float(row["d0"])) for row in used if available(row.get("d0"))]  # type: ignore[arg-type]
    if weights:
        mean = sum(n * value for n, value in weights) / sum(n for n, _ in weights)
        others = f", different facts of a relation {share(mean)}"
    ends = (dice.get("low"), dice.get("high"))
    beyond = ""
    if available(kappa.get("mean")):
        value, low, high = estimated(*(kappa.get(name) for name in ("mean", "low", "high")))  # type: ignore[arg-type]
        beyond = f"; beyond chance κ is {value} [{low}, {high}], where 0 is chance and 1 the same every time"
    told = share_with_interval(float(dice["mean"]), *ends)  # type: ignore[arg-type]
    return f"Paraphrases of a fact share {told} of their knowledge neurons{others}{beyond} ({n}{where})."


def _of_facts(rows: list[dict[str, Cell]], counts: Table | None) -> list[dict[str, Cell]]:
    """Leave out paradigms of minimal pairs, which are no relations, unless there is nothing else."""
    pairs = {row["relation"] for row in _rows(counts) if row.get("kind") == PAIR}
    return [row for row in rows if row["relation"] not in pairs] or rows


def _rows(table: Table | None) -> list[dict[str, Cell]]:
    if table is None:
        return []
    return [
        dict(zip(table.columns, cells, strict=True)) for cells in zip(*table.columns.values(), strict=True)
    ]


def _leading(questions: Sequence[Question]) -> list[TestResult]:
    """The first test of each question by rank, of the questions whose tests rank first, in their order."""
    firsts = []
    for question in questions:
        told = [test for test in question.tests if sentence_of(test) and test.verdict != "not identified"]
        if told:
            firsts.append(min(told, key=_rank))
    chosen = sorted(range(len(firsts)), key=lambda n: _rank(firsts[n]))[:N_TOLD]
    return [firsts[n] for n in sorted(chosen)]


def _rank(test: TestResult) -> tuple[int, bool]:
    return _RANKS[test.role], test.verdict in _OPEN


def _told(test: TestResult) -> str:
    """The sentence of a test's verdict, with n."""
    sentence = sentence_of(test).removesuffix(".")
    name = f"{test.name}: {test.verdict}, {test.role}"
    return f"{sentence}; {test.sizes()} ({name})." if test.n else f"{sentence} ({name})."


def _accounts(questions: Sequence[Question]) -> str:
    """How many predictions of each account were seen, contradicted, or are open."""
    tests = {test.name: test for question in questions for test in question.tests}
    told = list(filter(None, (_account(name, tests) for name in ACCOUNTS)))
    return f"What was predicted: {'; '.join(told)}." if told else ""


def _account(name: str, tests: Mapping[str, TestResult]) -> str:
    found = []
    for test, entry in ((tests[key], entry) for key, entry in REGISTRY.items() if key in tests):
        if name in entry.predicted and test.role != "descriptive":
            seen = test.seen()
            found.append(None if seen is None else seen == entry.predicted[name])
    words = ((True, "seen"), (False, "contradicted"), (None, "open"))
    told = [f"{found.count(what)} {word}" for what, word in words if found.count(what)]
    return f"by {name} ({ACCOUNTS[name]}) {counted(len(found), 'effect')}, {', '.join(told)}" if told else ""
