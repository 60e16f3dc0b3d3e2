"""What a model can be asked of facts and knows of them, counted before anything is extracted."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from qloc.plan import Plan
from qloc.progress import Progress
from qloc.text.files import write_text
from qloc.workflows.empty_studies import emptiness
from qloc.workflows.extract import prepared

if TYPE_CHECKING:
    from qloc.extract.signals.facts_check import Checked

COLUMNS: Final = ("id", "relation", "subject", "object", "queries", "askable", "known", "leaking", "left")
"""Of the table with one line a fact."""


@dataclass(frozen=True, kw_only=True)
class FactsCheck:
    """How many facts and queries a study has, can ask and would have left.

    Attributes
    ----------
    facts : tuple of Checked
        Every fact, in input order.
    relations : tuple of str
        In the order of the input.
    excluded : Mapping of str to int
        Why queries cannot be asked, and how many for each reason.
    merged : int
        Facts that were duplicates of an earlier one.
    skipped : Mapping of str to int
        What else the reader of the facts left out or counted, by reason.
    """

    facts: tuple[Checked, ...]
    relations: tuple[str, ...]
    excluded: Mapping[str, int]
    merged: int
    skipped: Mapping[str, int]

    @property
    def n_queries(self) -> int:
        """Number of queries, askable or not."""
        return sum(len(checked.fact.queries) for checked in self.facts)

    @property
    def n_askable(self) -> int:
        """Number of queries that the model can be asked."""
        return sum(checked.n_askable for checked in self.facts)

    @property
    def n_known(self) -> int:
        """Number of queries for which a right answer ranks first."""
        return sum(checked.n_known for checked in self.facts)

    @property
    def n_pairs(self) -> int:
        """Number of minimal pairs, askable or not."""
        return sum(len(checked.fact.queries) for checked in self.facts if checked.fact.kind != "fact")

    def by_paradigm(self) -> list[dict[str, Any]]:
        """Count the pairs of each paradigm and feature, and those whose good continuation is likelier.

        Returns
        -------
        list of dict
            ``paradigm, feature, pairs, askable, good > bad`` and ``share``; ``share`` is None if none is
            askable. If whole sentences were compared, ``as sentences`` and ``good > bad, sentences``, too.
        """
        cells: dict[tuple[str, str], list[Checked]] = {}
        for checked in self.facts:
            if checked.fact.kind != "fact":
                cells.setdefault((checked.fact.relation, checked.fact.feature), []).append(checked)
        whole = any(checked.n_whole for checked in self.facts)
        return [
            {
                "paradigm": paradigm,
                "feature": feature or "none",
                "pairs": sum(len(checked.fact.queries) for checked in of),
                "askable": (n := sum(checked.n_askable for checked in of)),
                "good > bad": (good := sum(checked.n_known for checked in of)),
                "share": good / n if n else None,
                **(
                    {
                        "as sentences": sum(checked.n_whole for checked in of),
                        "good > bad, sentences": sum(checked.n_whole_known for checked in of),
                    }
                    if whole
                    else {}
                ),
            }
            for (paradigm, feature), of in cells.items()
        ]

    @property
    def n_leaking(self) -> int:
        """Number of facts whose answer is contained in their subject."""
        return sum(checked.fact.leaks for checked in self.facts)

    @property
    def n_traceable(self) -> int:
        """Number of facts and groups of pairs with a known query, which tracing can take."""
        return sum(checked.left > 0 and checked.fact.cue_in_prefix for checked in self.facts)

    @property
    def n_shared_objects(self) -> int:
        """Number of facts whose inverse is not asked, since their object has other subjects too."""
        entailed = [checked.fact.entailed for checked in self.facts if checked.fact.entailed]
        return sum(of.inverse is not None and of.n_subjects > 1 for of in entailed)

    def entailed(self, what: str) -> tuple[int, int]:
        """Count the prompts of what facts entail.

        Parameters
        ----------
        what : str
            :data:`qloc.facts.INVERSE` or :data:`qloc.facts.SYNONYMS`.

        Returns
        -------
        n_asked, n_known : int
            Prompts that the model can be asked, and those whose answer ranks first before any edit.
        """
        counts = [checked.entailed.get(what, (0, 0)) for checked in self.facts]
        return sum(n for n, _ in counts), sum(known for _, known in counts)

    @property
    def left(self) -> dict[int, int]:
        """Number of facts by how many known queries they have left, ascending; leaking facts have none."""
        return dict(sorted(Counter(checked.left for checked in self.facts).items()))

    @property
    def empty(self) -> str:
        """Why a study of these facts gives no score of consistency; empty where it gives some."""
        return emptiness(self.n_askable, self.n_known, max(self.left, default=0))

    def by_relation(self) -> list[dict[str, Any]]:
        """Count facts and queries of each relation.

        Returns
        -------
        list of dict
            ``relation, facts, leaking, queries, askable, known``, and ``k ≥ 2`` and ``k ≥ 3``: facts with so
            many known queries left.
        """
        return [self._relation(relation) for relation in self.relations]

    def _relation(self, relation: str) -> dict[str, Any]:
        here = [checked for checked in self.facts if checked.fact.relation == relation]
        return {
            "relation": relation,
            "facts": len(here),
            "leaking": sum(checked.fact.leaks for checked in here),
            "queries": sum(len(checked.fact.queries) for checked in here),
            "askable": sum(checked.n_askable for checked in here),
            "known": sum(checked.n_known for checked in here),
            **{f"k ≥ {k}": sum(checked.left >= k for checked in here) for k in (2, 3)},
        }

    def write_csv(self, path: Path) -> None:
        """Write a table with one line a fact, whole or not at all.

        Parameters
        ----------
        path : Path
            The file; its columns are :data:`COLUMNS`.

        Raises
        ------
        StorageError
            The disk refused.
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for checked in self.facts:
            fact = checked.fact
            counts = (len(fact.queries), checked.n_askable, checked.n_known, int(fact.leaks), checked.left)
            writer.writerow((fact.id, fact.relation, fact.subject, fact.object, *counts))
        write_text(text.getvalue(), path, "table")


def check_facts(plan: Plan, *, whole_sentences: bool = False, progress: Progress | None = None) -> FactsCheck:
    """Ask a model every query of the plan's facts, by plain forward passes.

    Parameters
    ----------
    plan : Plan
        Model, facts, relations, max_facts, pairs and seed count here.
    whole_sentences : bool, default False
        Whether to compare pairs whose prefix does not decide by log P of whole sentences (causal models).
    progress : Progress or None
        Told of each fact.

    Returns
    -------
    FactsCheck
        The counts.

    Raises
    ------
    InputError
        The facts or the model cannot be read, or the model cannot be asked anything.
    MissingDependencyError
        torch or transformers are not installed.
    ModelError
        A number that is not finite, naming the query.
    """
    progress = progress or Progress(quiet=True)
    extraction = prepared(plan)
    from qloc.extract.signals.facts_check import checked

    facts: list[Checked] = []
    progress.say(f"Loading {plan.model} …")
    with progress.stage("check", sum(map(len, extraction.asking.asked))) as advance:
        for fact in checked(extraction, whole_sentences=whole_sentences):
            facts.append(fact)
            advance(fact.n_askable)
    return FactsCheck(
        facts=tuple(facts),
        relations=tuple(extraction.facts.relations()),
        excluded=dict(extraction.asking.excluded),
        merged=extraction.facts.merged,
        skipped=dict(extraction.facts.skipped),
    )
