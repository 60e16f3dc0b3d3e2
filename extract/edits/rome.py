"""ROME: an edit of rank one that makes a layer write a new answer at the subject's last token.

Keys are averaged over contexts that the model writes itself (:mod:`qloc.extract.edits.rome_contexts`), C is
their second moment over a text sample (:mod:`qloc.extract.edits.rome_covariance`), and the value is found by
gradient descent (:mod:`qloc.extract.edits.rome_value`).

References
----------
Meng et al. 2022 (arXiv 2202.05262), §3.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from qloc.extract.edits.rank_one import RankOne, rank_one
from qloc.extract.edits.rome_contexts import own_words
from qloc.extract.edits.rome_covariance import SecondMoment, keys_of
from qloc.extract.edits.rome_prompts import Prompt
from qloc.extract.edits.rome_value import KeyAndValue, ValueSearch
from qloc.extract.passes.row_engine import RowEngine
from qloc.extract.prompts.held_out_text import Piece
from qloc.extract.prompts.subject_position import subject_token
from qloc.extract.prompts.tokenizing import Encoder, TokenizedQuery
from qloc.facts import ANSWER_MARK, Query
from qloc.phase_plan import ROME_TRACED, RomePlan

ROME: Final = "rome"
"""Set name of the edit with C of a text sample."""

ROME_IDENTITY: Final = "rome_identity"
"""Set name of the edit with C = I."""

ROME_AS_CODED: Final = "rome_as_coded"
"""Set name of the edit as the authors' program makes it, with C of a text sample."""


@dataclass(frozen=True, kw_only=True)
class RomeEdit:
    """An edit of rank one, and how well its value does.

    Attributes
    ----------
    edit : RankOne or None
        None where the search found no better value than what the layer gives.
    loss : float
        −log P(o′) + KL at its value, in nats.
    """

    edit: RankOne | None
    loss: float


@dataclass(frozen=True, kw_only=True)
class Rome:
    """Makes ROME's edits of one model. Prefixes and second moment are made once and serve all facts.

    Attributes
    ----------
    engine : RowEngine
        Holds the model and the memory bound.
    encoder : Encoder
        Tokenizes prompts with answers.
    plan : RomePlan
        ROME's constants.
    sample : sequence of Piece
        Text that C is taken over. Edits are evaluated on other text.
    seed : int
        Seed of the prefixes.
    at : int or None
        The layer that is edited; the plan's where None.
    traced : Rome or None
        What makes the edits of the layer that tracing names; they are missing where it is None.
    """

    engine: RowEngine
    encoder: Encoder
    plan: RomePlan
    sample: Sequence[Piece]
    seed: int
    at: int | None = None
    traced: Rome | None = None

    def with_traced(self, layer: int) -> Rome:
        """Return the maker that makes edits of another layer, too, as equal otherwise as can be.

        Parameters
        ----------
        layer : int
            The layer that tracing names.

        Returns
        -------
        Rome
            Makes edits of the set :data:`qloc.phase_plan.ROME_TRACED` as well.
        """
        return replace(self, traced=replace(self, at=layer))

    @cached_property
    def layer(self) -> int:
        """The layer l* that is edited."""
        if self.at is not None:
            return self.at
        n_layers = self.engine.sites.n_layers
        return min(n_layers - 1, round(self.plan.layer * n_layers))

    @cached_property
    def prefixes(self) -> tuple[str, ...]:
        """What is put before prompts: nothing, and each of the texts that the model writes."""
        words = own_words(self.engine, self.encoder, self.plan.prefixes, self.plan.prefix_tokens, self.seed)
        return ("", *(f"{text}. " for text in words))

    @cached_property
    def moment(self) -> SecondMoment:
        """C at the layer that is edited."""
        keys = keys_of(self.engine, self.layer, self.sample)
        return SecondMoment(keys=keys, ridge=self.plan.ridge)

    def edits(
        self, names: Sequence[str], subject: str, edited: TokenizedQuery, old: str
    ) -> dict[str, RomeEdit]:
        """Make the edits of a fact. One search for v* serves :data:`ROME` and :data:`ROME_IDENTITY`.

        Parameters
        ----------
        names : sequence of str
            Some of :data:`ROME`, :data:`ROME_IDENTITY`, :data:`ROME_AS_CODED` and
            :data:`qloc.phase_plan.ROME_TRACED`.
        subject : str
            The fact's subject.
        edited : TokenizedQuery
            The query that is edited, with the new answer.
        old : str
            The fact's answer before.

        Returns
        -------
        dict of str to RomeEdit
            The edits by name; empty where the model does not read the subject in the prompt.
        """
        made: dict[str, RomeEdit] = {}
        for as_coded in (False, True):
            of_search = [
                name for name in names if (name == ROME_AS_CODED) == as_coded and name != ROME_TRACED
            ]
            search = self.search(subject, edited, old, as_coded=as_coded) if of_search else None
            best = search.best() if search else None
            made |= {name: self._edit(name, best) for name in of_search if best}
        if ROME_TRACED in names and self.traced is not None:
            same = self.traced.layer == self.layer and ROME in made
            elsewhere = {ROME: made[ROME]} if same else self.traced.edits((ROME,), subject, edited, old)
            made |= dict(zip((ROME_TRACED,), elsewhere.values(), strict=False))
        return made

    def _edit(self, name: str, best: KeyAndValue) -> RomeEdit:
        # Stores from before values were judged by likelihood have edits that change nothing.
        if not best.changed and (self.plan.best_by == "likelihood" or name == ROME_AS_CODED):
            return RomeEdit(edit=None, loss=best.loss)
        against = best.key if name == ROME_IDENTITY else self.moment.solve(best.key)
        down = self.engine.sites.downs[self.layer]
        edit = rank_one(down, self.layer, key=best.solved, against=against, value=best.value)
        return RomeEdit(edit=edit, loss=best.loss)

    def search(
        self, subject: str, edited: TokenizedQuery, old: str, *, as_coded: bool = False
    ) -> ValueSearch | None:
        """Prepare the search for v*.

        Parameters
        ----------
        subject : str
            The fact's subject.
        edited : TokenizedQuery
            The query that is edited, with the new answer.
        old : str
            The fact's answer before.
        as_coded : bool, default False
            Whether to search as the authors' program does.

        Returns
        -------
        ValueSearch or None
            None where the model does not read the subject in the prompt.
        """
        if subject_token(self.encoder, edited, subject) is None:
            return None
        queries = [
            Query(template=edited.query.template, text=before + edited.query.text) for before in self.prefixes
        ]
        prompts = [self._prompt(query, edited.answer, subject) for query in queries]
        essence = self._prompt(Query(template="", text=f"{subject} is a {ANSWER_MARK}."), old, subject)
        kept = [prompt for prompt in prompts if prompt is not None]
        if essence is None or not kept:
            return None
        return ValueSearch(
            engine=self.engine,
            layer=self.layer,
            plan=self.plan,
            prompts=kept,
            essence=essence,
            as_coded=as_coded,
        )

    def _prompt(self, query: Query, answer: str, subject: str) -> Prompt | None:
        """Ask a query with an answer; None where the model cannot be asked it."""
        asked = self.encoder.ask(query, answer, ignore_tail=True)  # of pairs words follow
        if not isinstance(asked, TokenizedQuery):
            return None
        place = subject_token(self.encoder, asked, subject)
        return None if place is None else Prompt(asked=asked, subject=place)
