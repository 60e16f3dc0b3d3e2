"""Further answers to put to a query: the bad continuation of a minimal pair, and probe words.

See docs/methods.md#suppression-on-words. Which words are asked is a part of the plan; they are the same for
all queries of a relation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from qloc.arrays import Array
from qloc.extract.prompts.tokenizing import Encoder, TokenizedQuery
from qloc.facts import Fact, candidates
from qloc.phase_plan import ProbePlan
from qloc.vocabulary import WORD

Answers = list[TokenizedQuery | None]
"""A query with its bad continuation, then with each probe word; None where there is none to ask."""


@dataclass(frozen=True, kw_only=True)
class ProbeWords:
    """What is asked of every query beside its answer, after each arm and each edit.

    Attributes
    ----------
    words : mapping of str to tuple of str
        Relation → probe words; empty where no probes are asked for.
    has_pairs : bool
        Whether bad continuations are asked: probes are asked for, and some fact is a minimal pair.
    encoder : Encoder
        Tokenizes prompts with answers.
    """

    words: Mapping[str, tuple[str, ...]]
    has_pairs: bool
    encoder: Encoder

    @classmethod
    def of(cls, plan: ProbePlan | None, facts: Sequence[Fact], encoder: Encoder) -> Self:
        """Choose what is asked.

        Parameters
        ----------
        plan : ProbePlan or None
            Which words; None for no probes.
        facts : sequence of Fact
            The facts of the study.
        encoder : Encoder
            Tokenizes prompts with answers.

        Returns
        -------
        ProbeWords
            The words of each relation.

        Raises
        ------
        InputError
            The plan names relations that the facts do not have.
        """
        words = {} if plan is None else plan.words_of(candidates(facts))
        has_pairs = plan is not None and any(fact.kind == "minimal_pair" for fact in facts)
        return cls(words=words, has_pairs=has_pairs, encoder=encoder)

    @property
    def n_words(self) -> int:
        """Length of the axis ``word``."""
        return max(map(len, self.words.values()), default=0)

    @property
    def width(self) -> int:
        """Number of further answers to each query: the bad continuation, and the words."""
        return 1 + self.n_words if self.names else 0

    @property
    def sizes(self) -> dict[str, int]:
        """Lengths of the axes that probes add to a phase."""
        return {WORD: self.n_words} if self.n_words else {}

    @property
    def attrs(self) -> dict[str, Any]:
        """Attributes that probes add to a phase: the words of each relation."""
        return {"probes": {name: list(words) for name, words in self.words.items()}} if self.n_words else {}

    @property
    def names(self) -> tuple[str, ...]:
        """Variables that are kept, by their names without ``base_``."""
        told = {"bad_log_probability": self.has_pairs, "word_log_probability": self.n_words > 0}
        return tuple(name for name, is_told in told.items() if is_told)

    def added(self, group: str) -> tuple[str, ...]:
        """Return the paths of the variables that probes add to a group.

        Parameters
        ----------
        group : str
            ``interventions`` or ``edits``.

        Returns
        -------
        tuple of str
            Paths, such as ``edits/base_bad_log_probability``.
        """
        return tuple(f"{group}/{base}{name}" for name in self.names for base in ("", "base_"))

    def ask(self, query: TokenizedQuery, fact: Fact) -> Answers:
        """Ask a query with every further answer.

        Parameters
        ----------
        query : TokenizedQuery
            The query.
        fact : Fact
            Its fact.

        Returns
        -------
        list of (TokenizedQuery or None)
            ``width`` entries.
        """
        if not self.names:
            return []
        bad, words = fact.bad_of(query.query), self.words[fact.relation]
        answers = [*([] if bad is None else [bad]), *words]
        asked = self.encoder.ask_all([(query.query, answer) for answer in answers], ignore_tail=True)
        usable = [one if isinstance(one, TokenizedQuery) else None for one in asked]
        rest: Answers = [None] * (self.n_words - len(words))
        return [*([None] if bad is None else []), *usable, *rest]

    def stored(self, log_probability: Array) -> dict[str, Array]:
        """Name the variables that are kept.

        Parameters
        ----------
        log_probability : ndarray, shape (..., width)
            Log P of every further answer, in nats; NaN where it was not asked.

        Returns
        -------
        dict of str to ndarray
            float32 arrays, of shape (...) of bad continuations, and (..., word) of words.
        """
        if not self.names:
            return {}
        values = log_probability.astype(np.float32)
        kept = {"bad_log_probability": values[..., 0], "word_log_probability": values[..., 1:]}
        return {name: kept[name] for name in self.names}
