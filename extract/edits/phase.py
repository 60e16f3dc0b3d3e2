"""Phase ``edits``: plan it, and apply and evaluate every edit of every fact, unit by unit."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from qloc.arms import EditArms, EntailedArms, row_of
from qloc.block import PhaseBlock, PhaseOutline, Unit
from qloc.extract.edits.entailed_prompts import (
    SynonymTable,
    entailed_prompts,
    is_entailing,
    n_prompts,
    synonym_table,
)
from qloc.extract.edits.entailment_run import EntailedColumns, EntailmentRun
from qloc.extract.edits.fact_edits import EditColumns, EditRun
from qloc.extract.edits.rome import Rome
from qloc.extract.models.architectures import down_weight
from qloc.extract.passes.late_join_proof import joining
from qloc.extract.passes.matched_controls import output_norms
from qloc.extract.passes.row_engine import RowEngine
from qloc.extract.prompts.held_out_text import held_out_texts, pieces, sampled_texts, windows
from qloc.extract.prompts.probe_words import ProbeWords
from qloc.extract.prompts.tokenizing import Target, TokenizedQuery
from qloc.extract.signals.extraction import Extraction
from qloc.facts import Fact
from qloc.phase_plan import GENERATED_LABELS, ROME_TRACED, EditPlan
from qloc.vocabulary import NO_INDEX


def prepare(extraction: Extraction, part: EditPlan, traced_layer: int = NO_INDEX) -> Edits:
    """Plan the phase on the model and the facts of an extraction.

    Parameters
    ----------
    extraction : Extraction
        Model and facts.
    part : EditPlan
        The phase's part of the plan.
    traced_layer : int, default -1
        Layer that tracing names; -1 where it names none, or no edit asks for it.

    Returns
    -------
    Edits
        The planned phase.
    """
    return Edits(extraction=extraction, part=part, traced_layer=traced_layer)


@dataclass(frozen=True, kw_only=True)
class Edits:
    """A planned phase ``edits``.

    Attributes
    ----------
    extraction : Extraction
        Model and facts.
    part : EditPlan
        The phase's part of the plan.
    traced_layer : int
        Layer that tracing names; -1 where it names none, or no edit asks for it.
    """

    extraction: Extraction
    part: EditPlan
    traced_layer: int = NO_INDEX

    @functools.cached_property
    def refused(self) -> str:
        """Why this model cannot be edited.

        Returns
        -------
        str
            The reason; empty where it can be edited.
        """
        sites, kind = self.extraction.loaded.sites, self.extraction.source.config.model_type
        if len(set(sites.downs)) < sites.n_layers:
            return f"the layers of {kind} share their weights: an edit of one would be an edit of all"
        width, n_out = self._embedding.shape[1], down_weight(sites.downs[0]).shape[0]
        if width != n_out and any(name.startswith("update") for name in self.part.operations):
            return f"embeddings of {kind} have width {width}, its down-projections write {n_out}"
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
            phase="edits",
            labels={
                "edit_operation": tuple(part.operations),
                "edit_set": tuple(part.sets),
                "generated": GENERATED_LABELS,
            },
            sizes={
                "probe": part.n_probes,
                "step": part.greedy_tokens,
                "entailed": self._n_entailed,
                **self._probes.sizes,
            },
            attrs={
                **part.model_dump(mode="json", exclude={"entailments", "pairs"}),
                "rome": part.rome.parameters(),
                **({"traced_layer": self.traced_layer} if ROME_TRACED in part.sets else {}),
                "refused": self.refused,
                **self._probes.attrs,
                "n_vocabulary": len(down_weight(self.extraction.loaded.sites.head)),
            },
            absent=("edits",) if self.refused else (),
            added=() if self.refused else self._added,
        )

    @property
    def _added(self) -> tuple[str, ...]:
        """Variables and groups that older stores do not have."""
        told = {
            "edits/strength": self.part.tells_strength,
            "edits/value_loss": self.part.tells_loss,
            "edits/text_nats_first": self.part.tells_halves,
            "edits/text_nats_second": self.part.tells_halves,
            "entailments": self.part.entailments and any(map(is_entailing, self._facts)),
        }
        return tuple(name for name, is_told in told.items() if is_told) + self._probes.added("edits")

    @functools.cached_property
    def _probes(self) -> ProbeWords:
        extraction = self.extraction
        return ProbeWords.of(extraction.plan.probes, self._facts, extraction.source.encoder())

    @property
    def _facts(self) -> tuple[Fact, ...]:
        return self.extraction.facts.facts

    @property
    def _n_entailed(self) -> int:
        """Length of the axis ``entailed``."""
        return max(map(n_prompts, self._facts), default=0)

    @functools.cached_property
    def _synonyms(self) -> SynonymTable:
        return synonym_table(self._facts)

    @functools.cached_property
    def engine(self) -> RowEngine:
        """The engine that runs the rows. No prompt is shared, since an edit changes it at every token.

        Returns
        -------
        RowEngine
            Lets rows join at the layer that they change, where that proves equal on this model.
        """
        loaded = self.extraction.loaded
        engine = RowEngine(
            model=loaded.model,
            sites=loaded.sites,
            family=loaded.family,
            memory=self.extraction.plan.memory,
        )
        return joining(engine, self.extraction.asking.some_targets(), "edits")

    @functools.cached_property
    def _embedding(self) -> Tensor:
        """E, (token, hidden): the output's matrix where it has one of its own, else the input's."""
        model = self.extraction.loaded.model
        table: Tensor = model.get_input_embeddings().weight
        out = down_weight(self.extraction.loaded.sites.head)
        if self.part.embedding == "input":
            return table
        own = out.data_ptr() != table.data_ptr() or out.shape != table.shape
        return out if own or self.part.embedding == "output" else table

    @functools.cached_property
    def _windows(self) -> list[list[Target]]:
        encoder, plan = self.extraction.source.encoder(), self.extraction.plan
        texts = held_out_texts(plan.model, joined=self.part.text == "joined")
        return windows(encoder.tokenizer, encoder.family, texts, self.part.text_tokens, encoder.longest)

    @functools.cached_property
    def _rome(self) -> Rome:
        """The maker of ROME's edits; C is taken over text that edits are not evaluated on."""
        encoder, plan = self.extraction.source.encoder(), self.extraction.plan
        joined = self.part.text == "joined"
        texts, skip = sampled_texts(plan.model, self.part.text_tokens, joined=joined)
        n = self.part.rome.sample_tokens
        sample = pieces(encoder.tokenizer, encoder.family, texts, n, encoder.longest, skip=skip)
        rome = Rome(
            engine=self.engine, encoder=encoder, plan=self.part.rome, sample=list(sample), seed=plan.seed
        )
        return rome if self.traced_layer == NO_INDEX else rome.with_traced(self.traced_layer)

    @functools.cached_property
    def _every(self) -> list[TokenizedQuery]:
        return [query for queries in self.extraction.asking.asked for query in queries]

    @functools.cached_property
    def _norms(self) -> NDArray[np.float64]:
        return output_norms(self.extraction.loaded.sites)

    def extract(self, unit: Unit, arms: EditArms) -> PhaseBlock:
        """Apply and evaluate every edit of a unit's facts.

        Parameters
        ----------
        unit : Unit
            The facts to run.
        arms : EditArms
            Which query of each is edited, its new answer, sets, probes and held-out queries.

        Returns
        -------
        PhaseBlock
            Every array of the phase for this unit.

        Raises
        ------
        ModelError
            Memory does not suffice for one row.
        """
        n_queries = self.extraction.outline.sizes["query_of_fact"]
        columns = EditColumns.empty(self.part, arms, n_queries, self._probes)
        entailed = None
        if arms.entailed is not None and "entailments" in self._added:
            entailed = EntailedColumns.empty(self.part, arms.entailed, self._n_entailed)

        def work() -> None:
            for place in np.flatnonzero(arms.edited_query >= 0).tolist():
                run = self._of_fact(unit.first_fact + place, place, arms)
                run.run(columns, place)
                if entailed is not None and arms.entailed is not None:
                    self._entailed(unit.first_fact + place, place, run, arms.entailed).fill(entailed, place)

        _, notes = self.extraction.run(work, lambda _: f"edits, unit {unit.number}")
        arrays = {f"edits/{name}": values for name, values in columns.arrays.items()}
        if entailed is not None:
            arrays |= {f"entailments/{name}": values for name, values in entailed.arrays.items()}
        return PhaseBlock(unit=unit, arrays=arrays, notes=notes)

    def _of_fact(self, fact: int, place: int, arms: EditArms) -> EditRun:
        probes = [self._every[number] if number >= 0 else None for number in arms.probe_query[place]]
        return self._edit_run(
            fact,
            int(arms.edited_query[place]),
            arms.new_object[place],
            {name: row_of(member, place) for name, member in arms.sets.items()},
            arms.held_out[place],
            probes,
        )

    def _entailed(self, fact: int, place: int, run: EditRun, arms: EntailedArms) -> EntailmentRun:
        """Prepare the evaluation of what a fact's edits entail."""
        own, number = self._facts[fact], int(arms.partner[place])
        partner = self._facts[number] if number >= 0 else None
        asks = bool(arms.asks_inverse[place])
        along = None
        if partner is not None and asks:
            along = self._edit_run(
                number,
                int(arms.partner_query[place]),
                own.object,
                {name: row_of(member, place) for name, member in arms.partner_sets.items()},
                arms.partner_held_out[place],
                (),
            )
        prompts = entailed_prompts(own, run.new_object, partner, asks, self._synonyms)
        text = own.entailed.generation[:1] if own.entailed else ()
        return EntailmentRun(run=run, partner=along, prompts=list(prompts), text="".join(text))

    def _edit_run(
        self,
        fact: int,
        edited_query: int,
        new_object: str,
        slots: dict[str, NDArray[np.int64]],
        held_out: NDArray[np.int8],
        probes: Sequence[TokenizedQuery | None],
    ) -> EditRun:
        queries, of = self.extraction.asking.asked[fact], self._facts[fact]
        edited = int(edited_query - self._first_query[fact])
        return EditRun(
            queries=queries,
            edited=edited,
            chose_sets=held_out[: len(queries)] == 0,
            new_answers=[of.bad_of(query.query) or new_object for query in queries],
            probes=probes,
            slots=slots,
            part=self.part,
            embedding=self._embedding,
            norms=self._norms,
            windows=self._windows,
            encoder=self.extraction.source.encoder(),
            engine=self.engine,
            seed=(self.extraction.plan.seed, fact),  # no Stream: stores hold what this key draws
            subject=of.subject_of(queries[edited].query),
            rome=self._rome,
            further=[self._probes.ask(query, of) for query in queries],
        )

    @functools.cached_property
    def _first_query(self) -> NDArray[np.int64]:
        counts = [len(queries) for queries in self.extraction.asking.asked]
        return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
