"""Phase ``interventions``: plan it, and run re-prompts, neuron arms and synapse arms unit by unit."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from qloc.arms import Arms, RelationSums
from qloc.arrays import Array, Ints
from qloc.block import PhaseBlock, PhaseOutline, Unit
from qloc.extract.attribution.integrated_gradients import path_of
from qloc.extract.interventions.knowledge_synapses import SynapseRun
from qloc.extract.interventions.neurons import InterventionRun
from qloc.extract.interventions.reprompts import Reprompts
from qloc.extract.interventions.synapse_views import SynapseViews
from qloc.extract.passes.further_answers import FurtherAnswers
from qloc.extract.passes.late_join_proof import joining
from qloc.extract.passes.row_engine import RowEngine, sharing
from qloc.extract.prompts.minimal_pairs import attributed
from qloc.extract.prompts.probe_words import ProbeWords
from qloc.extract.prompts.tokenizing import Target, TokenizedQuery, Tokens
from qloc.extract.signals.extraction import Extraction
from qloc.extract.signals.neuron_tokens import token_texts
from qloc.methods import method
from qloc.phase_plan import MATCHED, InterventionPlan
from qloc.vocabulary import TOKEN, VIEW

_VIEWED = "gradient × activation with the knowledge synapses suppressed, not renormalized"
"""What /synapse_views tells instead of an attribution along a path."""

_ALLOWED = {"float64": 1e-5, "float32": 1e-3}
"""Largest relative difference allowed between a shared and a whole prompt; 0.1 in half precision."""


def prepare(
    extraction: Extraction, part: InterventionPlan, labels: Sequence[str], sums: RelationSums | None
) -> Interventions:
    """Plan the phase on the model and the facts of an extraction.

    Parameters
    ----------
    extraction : Extraction
        Model and facts.
    part : InterventionPlan
        The phase's part of the plan.
    labels : sequence of str
        The neuron sets, in order.
    sums : RelationSums or None
        Sums of activations, for the operation ``mean``. Without them its arms stay empty.

    Returns
    -------
    Interventions
        The planned phase.
    """
    return Interventions(extraction=extraction, part=part, labels=tuple(labels), sums=sums)


@dataclass(frozen=True, kw_only=True)
class Interventions:
    """A planned phase ``interventions``.

    Attributes
    ----------
    extraction : Extraction
        Model and facts.
    part : InterventionPlan
        The phase's part of the plan.
    labels : tuple of str
        The neuron sets, in order.
    sums : RelationSums or None
        Sums of activations, for the operation ``mean``.
    """

    extraction: Extraction
    part: InterventionPlan
    labels: tuple[str, ...]
    sums: RelationSums | None

    @functools.cached_property
    def outline(self) -> PhaseOutline:
        """What is known before the model has run. Loads the weights.

        Returns
        -------
        PhaseOutline
            Labels, axis lengths and attributes of the phase.
        """
        refused = self.extraction.attention_refused
        return PhaseOutline(
            phase="interventions",
            labels={
                "operation": tuple(self.part.operations),
                "neuron_set": self.labels,
                "synapse_operation": tuple(self.part.synapse_operations),
                "synapse_set": tuple(self.part.synapse_sets),
            },
            sizes={**self._probes.sizes, **({VIEW: self.part.viewed_neurons} if self._views else {})},
            attrs={
                "method": self.part.method,
                "threshold": self.part.threshold,
                "alpha": self.part.alpha,
                "attention": refused or "changed",
                **({"reprompt": self.part.reprompt} if self.part.reprompts else {}),
                **({"viewed": _VIEWED} if self._views else {}),
                **self._probes.attrs,
            },
            absent=("synapses",) if refused else (),
            added=self._added,
        )

    @property
    def _added(self) -> tuple[str, ...]:
        optional = {
            "interventions/strength": self.part.tells_strength,
            "reprompts": self.part.reprompts,
            "synapse_views": self._views,
        }
        own = tuple(name for name, is_there in optional.items() if is_there)
        after_synapses = self._probes.names if self._keeps_after_synapses else ()
        return (
            *own,
            *self._probes.added("interventions"),
            *(f"synapses/{name}" for name in after_synapses),
        )

    @property
    def _keeps_after_synapses(self) -> bool:
        """Whether log P of further answers is kept after changes of attention."""
        probes = self.extraction.plan.probes
        kept = probes is not None and probes.synapses and bool(self._probes.names)
        return kept and not self.extraction.attention_refused

    @property
    def _views(self) -> bool:
        return self.part.viewed_facts > 0 and not self.extraction.attention_refused

    @functools.cached_property
    def _probes(self) -> ProbeWords:
        extraction = self.extraction
        return ProbeWords.of(extraction.plan.probes, extraction.facts.facts, extraction.source.encoder())

    @functools.cached_property
    def engine(self) -> RowEngine:
        """The engine that runs the rows. Shortcuts are taken only where they prove equal on this model.

        Returns
        -------
        RowEngine
            Shares prompts, and lets rows join at the first layer that they change, where it may.
        """
        loaded = self.extraction.loaded
        engine = RowEngine(
            model=loaded.model,
            sites=loaded.sites,
            family=loaded.family,
            memory=self.extraction.plan.memory,
        )
        dtype = str(next(iter(loaded.model.parameters())).dtype).removeprefix("torch.")
        targets = self.extraction.asking.some_targets()
        return joining(sharing(engine, targets, _ALLOWED.get(dtype, 0.1)), targets, "cells")

    @functools.cached_property
    def _every(self) -> list[TokenizedQuery]:
        return [query for queries in self.extraction.asking.asked for query in queries]

    def extract(self, unit: Unit, arms: Arms) -> PhaseBlock:
        """Run every arm of a unit.

        Parameters
        ----------
        unit : Unit
            The facts to run.
        arms : Arms
            Their neuron sets, and which queries lend activations.

        Returns
        -------
        PhaseBlock
            Every array of the phase for this unit.

        Raises
        ------
        ModelError
            A number is not finite, and the message names the query; or memory does not suffice for one row.
        """
        arrays, notes = self.extraction.run(
            lambda: self._arrays(unit, arms), lambda _: f"interventions, unit {unit.number}"
        )
        return PhaseBlock(unit=unit, arrays=arrays, notes=notes)

    def _arrays(self, unit: Unit, arms: Arms) -> dict[str, Array]:
        arrays: dict[str, Array] = {}
        if arms.again is not None:
            again = self._reprompts(unit, arms, arms.again)
            arms = replace(arms, sets={**arms.sets, **again.sets})
            arrays = {f"reprompts/{name}": values for name, values in again.arrays().items()}
        run = self._neuron_run(unit, arms)
        arrays |= {f"interventions/{name}": values for name, values in run.arrays().items()}
        if run.further is not None:
            arrays |= self._further(run)
        if not self.extraction.attention_refused:
            synapses = self._synapse_run(run)
            found = synapses.arrays()
            if self._keeps_after_synapses:
                found |= self._probes.stored(synapses.further_log_probability())
            arrays |= {f"synapses/{name}": values for name, values in found.items()}
        if self._views and arms.views is not None:
            views = self._synapse_views(run, arms.views)
            arrays |= {f"synapse_views/{name}": values for name, values in views.arrays().items()}
        return arrays

    def _further(self, run: InterventionRun) -> dict[str, Array]:
        base, after = run.further_log_probability()
        kept = self._probes.stored(after)
        kept |= {f"base_{name}": values for name, values in self._probes.stored(base).items()}
        return {f"interventions/{name}": values for name, values in kept.items()}

    def _queries(self, unit: Unit) -> tuple[list[TokenizedQuery], Ints]:
        """Return the queries of a unit, and the fact of each, numbered within the study."""
        counts = [len(of_fact) for of_fact in self.extraction.asking.asked[unit.first_fact : unit.last_fact]]
        fact = np.repeat(np.arange(unit.first_fact, unit.last_fact), counts)
        return self._every[unit.first_query : unit.last_query], fact

    def _neuron_run(self, unit: Unit, arms: Arms) -> InterventionRun:
        queries, fact = self._queries(unit)
        fact_of = [self.extraction.facts.facts[number] for number in fact]
        plan, further = self.extraction.plan, None
        if self._probes.names:
            asked = [self._probes.ask(*one) for one in zip(queries, fact_of, strict=True)]
            further = FurtherAnswers.of(Tokens.of(queries), asked, self._probes.width)
        return InterventionRun(
            unit=unit,
            queries=queries,
            fact=fact - unit.first_fact,
            relation=[of_query.relation for of_query in fact_of],
            donors={int(query): self._every[query] for query in arms.other_fact if query >= 0},
            arms=arms,
            operations=tuple(self.part.operations),
            names=self.labels,
            totals=self._totals,
            engine=self.engine,
            seed=plan.seed,
            matching=self.part.matching,
            stored=attributed(
                queries, fact_of, self.extraction.source.encoder(), plan.answer_tokens, plan.target
            ),
            further=further,
        )

    def _reprompts(self, unit: Unit, arms: Arms, strength: sparse.csr_array) -> Reprompts:
        queries, fact = self._queries(unit)
        extraction, plan = self.extraction, self.extraction.plan
        dtype = next(iter(extraction.loaded.model.parameters())).dtype
        return Reprompts(
            queries=queries,
            facts=[extraction.facts.facts[number] for number in fact],
            own=arms.sets["own"],
            strength=strength,
            prefix=self.part.reprompt,
            encoder=extraction.source.encoder(),
            engine=extraction.engine,
            rows=self.engine,
            method=method(self.part.method or plan.methods[0]),
            path=path_of(plan, dtype),
            answer_tokens=plan.answer_tokens,
            threshold=self.part.threshold,
            dtype=plan.store_dtype,
            starts=lambda some: extraction.relations.of_facts(fact[list(some)].tolist()),
        )

    def _totals(self, relation: str) -> tuple[Array, int]:
        if self.sums is None or relation not in self.sums.n_queries:
            return np.zeros(0), 0
        return self.sums.activation_sum(relation), self.sums.n_queries[relation]

    def _synapse_run(self, run: InterventionRun) -> SynapseRun:
        other_fact = run.arms.other_fact
        return SynapseRun(
            tokens=Tokens.of(run.queries),
            donors=[
                donor
                for row, query in enumerate(run.queries)
                for donor in self._lent(query, int(other_fact[row]))
            ],
            own=run.sets["own"],
            matched=run.sets[MATCHED],
            operations=tuple(self.part.synapse_operations),
            names=tuple(self.part.synapse_sets),
            alpha=self.part.alpha,
            engine=self.engine,
            first_query=run.unit.first_query,
            seed=run.seed,
            further=run.further if self._keeps_after_synapses else None,
            further_donors=self._further_lent(run) if self._keeps_after_synapses else (),
        )

    def _synapse_views(self, run: InterventionRun, neurons: Ints) -> SynapseViews:
        viewed = np.flatnonzero((neurons >= 0).any(axis=1)).tolist()
        return SynapseViews(
            passes=[one for one in run.stored if one.query in viewed],
            last={row: run.queries[row].targets[-1] for row in viewed},
            neurons=neurons,
            texts=functools.partial(token_texts, self.extraction.source.encoder().tokenizer),
            n_tokens=self.extraction.outline.sizes[TOKEN],
            alpha=self.part.alpha,
            engine=self.engine,
        )

    def _further_lent(self, run: InterventionRun) -> list[Target | None]:
        """Return, for each pass of further answers alone, another fact's pass with the same answer."""
        further, encoder = run.further, self.extraction.source.encoder()
        if further is None:
            return []
        lent: dict[tuple[int, tuple[int, ...], int], Target | None] = {}
        for row, query in enumerate(run.queries):
            number, fact = int(run.arms.other_fact[row]), run.unit.first_fact + int(run.fact[row])
            for answer in self._probes.ask(query, self.extraction.facts.facts[fact]) if number >= 0 else ():
                if answer is None:
                    continue
                other = encoder.ask(self._every[number].query, answer.answer, ignore_tail=True)
                theirs = other.targets if isinstance(other, TokenizedQuery) else ()
                alike = [len(one.ids) for one in theirs] == [len(target.ids) for target in answer.targets]
                for target, one in zip(answer.targets, theirs if alike else (), strict=False):
                    lent.setdefault((row, target.ids, target.position), one)
        return [
            lent.get((int(further.query[n]), further.targets[n].ids, further.targets[n].position))
            for n in further.other.tolist()
        ]

    def _lent(self, query: TokenizedQuery, number: int) -> list[Target | None]:
        """Return another fact's passes, or None for each, unless all are as long as the query's own."""
        others = self._every[number].targets[: len(query.targets)] if number >= 0 else ()
        alike = [len(other.ids) for other in others] == [len(target.ids) for target in query.targets]
        return [*others] if alike else [None] * len(query.targets)
