"""Phase ``tracing``: plan it, and trace the known queries of each unit."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit

from qloc.arms import TracingArms
from qloc.arrays import Array
from qloc.block import PhaseBlock, PhaseOutline, Unit
from qloc.errors import InputError
from qloc.extract.passes.row_engine import RowEngine
from qloc.extract.prompts.token_roles import token_roles
from qloc.extract.prompts.tokenizing import TokenizedQuery
from qloc.extract.signals.extraction import Extraction
from qloc.extract.signals.query_columns import not_finite
from qloc.extract.tracing.corruption import (
    OtherSubject,
    OtherSubjects,
    embedding_deviation,
    fits,
    noise,
    subject_ids,
)
from qloc.extract.tracing.proof import proved
from qloc.extract.tracing.query_tracing import Asked, TracedQuery, traced_query
from qloc.extract.tracing.restored_rows import TracingEngine, Windows
from qloc.facts import Fact
from qloc.phase_plan import TracingPlan
from qloc.vocabulary import NO_INDEX


def prepare(extraction: Extraction, part: TracingPlan) -> Tracing:
    """Plan the phase on the model and the facts of an extraction.

    Parameters
    ----------
    extraction : Extraction
        Model and facts.
    part : TracingPlan
        The phase's part of the plan.

    Returns
    -------
    Tracing
        The planned phase.
    """
    return Tracing(extraction=extraction, part=part)


@dataclass(frozen=True, kw_only=True)
class Tracing:
    """A planned phase ``tracing``.

    Attributes
    ----------
    extraction : Extraction
        Model and facts.
    part : TracingPlan
        The phase's part of the plan.
    """

    extraction: Extraction
    part: TracingPlan

    @functools.cached_property
    def refused(self) -> str:
        """Why this model's parts cannot be traced.

        Returns
        -------
        str
            The reason; empty where they can be.
        """
        try:
            self.extraction.run(lambda: self.engine, lambda _: "trying to trace")
        except InputError as error:
            return str(error)
        return ""

    @functools.cached_property
    def outline(self) -> PhaseOutline:
        """What is known before the model has run. Loads the weights.

        Returns
        -------
        PhaseOutline
            Labels, axis lengths and attributes of the phase.
        """
        part = self.part
        return PhaseOutline(
            phase="tracing",
            labels={
                "tracing_part": tuple(part.parts),
                "token_role": tuple(part.roles),
                "corruption": part.corruptions,
            },
            sizes={},
            attrs={
                **part.parameters(),
                **({"pairs": True} if self.traces_pairs else {}),
                "refused": self.refused,
                "deviation": self.deviation,
            },
            absent=("tracing",) if self.refused else (),
        )

    @property
    def traces_pairs(self) -> bool:
        """Whether minimal pairs are among what is traced; they were not in older stores."""
        return self.part.pairs and self.extraction.facts.has_pairs

    @functools.cached_property
    def deviation(self) -> float:
        """σ of the embeddings of all subjects' tokens, each fact counted once, in its first query.

        Returns
        -------
        float
            0 where no query names its subject.
        """
        asked, facts = self.extraction.asking.asked, self.extraction.facts.facts
        first = [
            (queries[0], fact.subject_of(queries[0].query) if self.traces_pairs else fact.subject)
            for queries, fact in zip(asked, facts, strict=True)
            if queries
        ]
        ids = subject_ids(self.extraction.source.encoder(), first)
        return embedding_deviation(self.extraction.loaded.model, ids) if ids else 0.0

    @functools.cached_property
    def windows(self) -> Windows:
        """The layers that are restored together.

        Returns
        -------
        Windows
            Of each part, one window a layer.
        """
        return self.part.windows(self.extraction.loaded.sites.n_layers)

    @functools.cached_property
    def engine(self) -> TracingEngine:
        """The engine, compared with plain passes on this model.

        Returns
        -------
        TracingEngine
            The quickest one that gives the same numbers.

        Raises
        ------
        InputError
            The model's parts cannot be traced.
        """
        loaded = self.extraction.loaded
        engine = RowEngine(
            model=loaded.model,
            sites=loaded.sites,
            family=loaded.family,
            memory=self.extraction.plan.memory,
        )
        return proved(engine, self.extraction.asking.some_targets(), self.windows)

    def extract(self, unit: Unit, arms: TracingArms) -> PhaseBlock:
        """Trace the chosen queries of a unit.

        Parameters
        ----------
        unit : Unit
            The facts to run.
        arms : TracingArms
            Which queries are traced.

        Returns
        -------
        PhaseBlock
            Every array of the phase for this unit.

        Raises
        ------
        ModelError
            A number is not finite, and the message names the query; or memory does not suffice for one row.
        """
        if self.refused:
            return PhaseBlock(unit=unit, arrays={})
        columns = _Columns(self, unit.n_queries)

        def work() -> None:
            rows = [
                (query, number)
                for number in range(unit.first_fact, unit.last_fact)
                for query in self.extraction.asking.asked[number]
            ]
            for place in np.flatnonzero(arms.traced).tolist():
                query, fact = rows[place]
                self._trace(columns, place, query, fact, unit.first_query + place)

        _, notes = self.extraction.run(work, lambda _: f"tracing, unit {unit.number}")
        arrays = {f"tracing/{name}": values for name, values in columns.arrays.items()}
        return PhaseBlock(unit=unit, arrays=arrays, notes=notes)

    def _trace(self, columns: _Columns, place: int, query: TokenizedQuery, fact: int, number: int) -> None:
        """Trace one query, if the model reads its subject."""
        own, plan = self.extraction.facts.facts[fact], self.extraction.plan
        other = self._others.of(query, fact, number)
        asked = self._with_roles(query, None if other is None else other.asked, own)
        bad = own.bad_of(query.query)
        against = None if bad is None else self._against(query, bad, other, own)
        if asked is None or (bad is not None and (against is None or not _are_alike(asked, against))):
            return
        scale = self.part.noise * self.deviation
        drawn = noise(scale, asked.roles, self._width, self.part.samples, plan.seed, number)
        found = traced_query(self.engine, asked, drawn, self.part.roles, self.windows, against)
        columns.keep(place, found, NO_INDEX if other is None else other.fact, (query, own))

    def _with_roles(self, query: TokenizedQuery, other: TokenizedQuery | None, own: Fact) -> Asked | None:
        """Return a query with the roles of its tokens; None where the model reads no subject."""
        roles = token_roles(self.extraction.source.encoder(), query, own.subject_of(query.query))
        return None if roles is None else Asked(clean=query, other=other, roles=roles)

    def _against(
        self, query: TokenizedQuery, bad: str, other: OtherSubject | None, own: Fact
    ) -> Asked | None:
        """Return the same with the bad form of a minimal pair; None where the model cannot be asked it."""
        texts = [query.query.text, *([] if other is None else [other.asked.query.text])]
        pairs = [(replace(query.query, text=text), bad) for text in texts]
        found = self.extraction.source.encoder().ask_all(pairs, ignore_tail=True)
        asked = [one for one in found if isinstance(one, TokenizedQuery)]
        if len(asked) < len(texts):
            return None
        return self._with_roles(asked[0], asked[1] if len(asked) > 1 else None, own)

    @functools.cached_property
    def _width(self) -> int:
        """Width of an embedding."""
        return int(self.extraction.loaded.model.get_input_embeddings().weight.shape[1])

    @functools.cached_property
    def _others(self) -> OtherSubjects:
        return OtherSubjects(
            encoder=self.extraction.source.encoder(),
            facts=self.extraction.facts.facts,
            seed=self.extraction.plan.seed,
        )


def _are_alike(good: Asked, bad: Asked) -> bool:
    """Whether both forms of a pair have as many tokens of each role, and the same other subject."""
    counts = [
        [len(asked.roles.subject), *(len(places) for places in asked.roles.positions.values())]
        for asked in (good, bad)
    ]
    return counts[0] == counts[1] and (bad.other is None or fits(bad.clean, bad.other, bad.roles.subject))


class _Columns:
    """The arrays of one unit, missing where a query is not traced."""

    def __init__(self, phase: Tracing, n_queries: int) -> None:
        part, n_layers = phase.part, phase.extraction.loaded.sites.n_layers
        shape = (len(part.parts), len(part.roles), n_layers, len(part.corruptions), n_queries)
        base = (len(part.corruptions), n_queries)
        floats = {
            **dict.fromkeys(("log_odds", "probability"), shape),
            **dict.fromkeys(("corrupted_log_odds", "corrupted_probability"), base),
            **dict.fromkeys(("clean_log_odds", "clean_probability"), (n_queries,)),
        }
        integers = {"n_role_tokens": (len(part.roles), n_queries), "other_subject": (n_queries,)}
        self.arrays: Mapping[str, Array] = {
            **{name: np.full(size, np.nan, dtype=np.float32) for name, size in floats.items()},
            **{name: np.full(size, NO_INDEX, dtype=np.int32) for name, size in integers.items()},
        }

    def keep(self, place: int, found: TracedQuery, other: int, named: tuple[TokenizedQuery, Fact]) -> None:
        """Store what was found for one query.

        Raises
        ------
        ModelError
            A number is not finite where there should be one.
        """
        has_other = slice(None) if other >= 0 else slice(-1)
        restored = found.log_odds[:, found.n_tokens > 0][..., has_other]
        if not np.isfinite(found.clean) or not np.isfinite(found.corrupted[has_other]).all():
            raise not_finite(*named)
        if not np.isfinite(restored).all():
            raise not_finite(*named)
        values = {
            "log_odds": found.log_odds,
            "probability": found.probability,
            "corrupted_log_odds": found.corrupted,
            "corrupted_probability": expit(found.corrupted),
            "clean_log_odds": found.clean,
            "clean_probability": expit(found.clean),
            "n_role_tokens": found.n_tokens,
            "other_subject": other,
        }
        for name, value in values.items():
            self.arrays[name][..., place] = value
