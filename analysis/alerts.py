"""What may spoil a study, found in its numbers: alerts that stand before its results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from qloc.analysis.results import Alert, Question
from qloc.text.rounding import available, counted, share
from qloc.vocabulary import PAIR

FEWEST_FACTS: Final = 10
"""Facts below which intervals and p-values of a study tell little."""


def alerts(
    questions: Sequence[Question], counts: Mapping[str, int], missing: Sequence[str], unreadable: str = ""
) -> tuple[Alert, ...]:
    """Return what may spoil a study.

    Parameters
    ----------
    questions : sequence of Question
        With their tables.
    counts : mapping of str to int
        How much was used and left out, as :func:`qloc.analysis.questions.counts.study_counts` gives it.
    missing : sequence of str
        Groups of a store that some question reads, and this store lacks.
    unreadable : str, default ""
        That the model cannot read the text that damage is measured on, as
        :func:`qloc.accuracy.readable_text.unreadable_text` says it.

    Returns
    -------
    tuple of Alert
        Of few facts, leaking, unknown, empty sets, completeness gaps over the tolerance, unreadable text,
        missing arms those that are found.
    """
    found = [*_counted(counts, _of_pairs(questions)), *_gaps(questions)]
    if unreadable:
        found.append(Alert(kind="unreadable text", text=unreadable, question="edits"))
    if missing:
        text = f"The store has no {' or '.join(missing)}: the questions that read them are not asked."
        found.append(Alert(kind="missing arms", text=text))
    return tuple(found)


def _of_pairs(questions: Sequence[Question]) -> bool:
    """Say whether all that was asked is minimal pairs."""
    tables = [question.table("counts_by_relation") for question in questions]
    kinds = {kind for table in tables if table is not None for kind in table.columns.get("kind", ())}
    return kinds == {PAIR}


def _counted(counts: Mapping[str, int], of_pairs: bool) -> Iterator[Alert]:
    compared, leaking = counts.get("facts compared"), counts.get("facts leaking", 0)
    if compared is not None and compared < FEWEST_FACTS:
        text = f"Only {counted(compared, 'fact')} can be compared: intervals are wide and p-values rough."
        yield Alert(kind="few facts", text=text, question="counts")
    if leaking:
        have = (
            "has its answer in its subject, and is"
            if leaking == 1
            else "have the answer in the subject, and are"
        )
        yield Alert(kind="leaking", text=f"{counted(leaking, 'fact')} {have} left out.", question="counts")
    asked, known = counts.get("queries", 0), counts.get("queries known", 0)
    if asked > known:
        lost = asked - known
        are = "is" if lost == 1 else "are"
        why = "the good form is no likelier" if of_pairs else "no right answer ranks first"
        text = (
            f"{counted(lost, 'query')} of {asked:,} ({share(lost / asked)}) {are} not known to the model: "
            f"{why}. Consistency is of the known ones."
        )
        yield Alert(kind="unknown", text=text, question="counts")
    if empty := counts.get("known queries without knowledge neurons", 0):
        has = "has" if empty == 1 else "have"
        text = f"{counted(empty, 'known query')} {has} no knowledge neuron at this threshold."
        yield Alert(kind="empty sets", text=text, question="counts")


def _gaps(questions: Sequence[Question]) -> Iterator[Alert]:
    for question in questions:
        table = question.table("completeness")
        if table is None or not {"method", "over"} <= set(table.columns):
            continue
        for method, over in zip(table.columns["method"], table.columns["over"], strict=True):
            if available(over) and float(over):  # type: ignore[arg-type]  # available
                text = (
                    f"For {share(float(over))} of the queries a layer's attributions of {method} miss "  # type: ignore[arg-type]
                    "the change in probability that they explain by more than the tolerance."
                )
                yield Alert(kind="gap over tolerance", text=text, question=question.id)
