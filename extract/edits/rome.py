"""ROME: an edit of rank one at the subject's last token, by which a layer gives the value of a new answer.

Key, value and second moment as in Meng et al. 2022 (arXiv 2202.05262), §3.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from qloc.extract.edits.rank_one import RankOne, rank_one
from qloc.extract.edits.rome_contexts import own_words
from qloc.extract.edits.rome_covariance import SecondMoment, keys_of
from qloc.extract.edits.rome_value import Prompt, ValueSearch
from qloc.extract.passes.row_engine import RowEngine
from qloc.extract.prompts.held_out_text import Piece
from qloc.extract.prompts.subject_position import subject_token
from qloc.extract.prompts.tokenizing import Encoder, TokenizedQuery
from qloc.facts import ANSWER_MARK, Query
from qloc.phase_plan import RomePlan

ROME: Final = "rome"
ROME_IDENTITY: Final = "rome_identity"
"""The same with C = I."""


@dataclass(frozen=True, kw_only=True)
class Rome:
    """What edits one model; prefixes and second moment are made at the first need, of no fact in particular.

    Attributes
    ----------
    sample : text that C is taken over; edits are tested on other text.
    seed : of the prefixes.
    """

    engine: RowEngine
    encoder: Encoder
    plan: RomePlan
    sample: Sequence[Piece]
    seed: int

    @cached_property
    def layer(self) -> int:
        """l*, the layer that is edited."""
        n_layers = self.engine.sites.n_layers
        return min(n_layers - 1, round(self.plan.layer * n_layers))

    @cached_property
    def prefixes(self) -> tuple[str, ...]:
        """What is put before prompts, and nothing."""
        words = own_words(self.engine, self.encoder, self.plan.prefixes, self.plan.prefix_tokens, self.seed)
        return ("", *(f"{text}. " for text in words))

    @cached_property
    def moment(self) -> SecondMoment:
        """C, at the layer that is edited."""
        keys = keys_of(self.engine, self.layer, self.sample)
        return SecondMoment(keys=keys, ridge=self.plan.ridge)

    def edits(self, names: Sequence[str], subject: str, told: TokenizedQuery, old: str) -> dict[str, RankOne]:
        """The edits of a fact, by name; none where the model does not read the subject in the prompt.

        Parameters
        ----------
        names : :data:`ROME`, :data:`ROME_IDENTITY` or both: one search serves both.
        told : the query that is edited, with the new answer.
        old : the fact's answer.
        """
        search = self.search(subject, told, old) if names else None
        if search is None:
            return {}
        found, down = search.found(), self.engine.sites.downs[self.layer]
        against = {name: self.moment.solve(found.key) if name == ROME else found.key for name in names}
        return {
            name: rank_one(down, self.layer, key=found.key, against=other, value=found.value)
            for name, other in against.items()
        }

    def search(self, subject: str, told: TokenizedQuery, old: str) -> ValueSearch | None:
        """The search for v*; None as of :meth:`edits`."""
        if subject_token(self.encoder, told, subject) is None:
            return None
        queries = [
            Query(template=told.query.template, text=before + told.query.text) for before in self.prefixes
        ]
        prompts = [self._prompt(query, told.answer, subject) for query in queries]
        essence = self._prompt(Query(template="", text=f"{subject} is a {ANSWER_MARK}."), old, subject)
        kept = [prompt for prompt in prompts if prompt is not None]
        if essence is None or not kept:
            return None
        return ValueSearch(
            engine=self.engine, layer=self.layer, plan=self.plan, prompts=kept, essence=essence
        )

    def _prompt(self, query: Query, answer: str, subject: str) -> Prompt | None:
        """A query asked with an answer; None where the model cannot be asked it."""
        asked = self.encoder.ask(query, answer)
        if not isinstance(asked, TokenizedQuery):
            return None
        place = subject_token(self.encoder, asked, subject)
        return None if place is None else Prompt(asked=asked, subject=place)
