"""ROME on tiny models: what edits them, and a search for the value of a new answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from qloc.extract.edits.fact_edits import EditRun
from qloc.extract.edits.rome import Rome
from qloc.extract.edits.rome_value import ValueSearch
from qloc.extract.models.loading import source
from qloc.extract.passes.matched_controls import output_norms
from qloc.extract.passes.row_engine import RowEngine
from qloc.extract.prompts.askable import ask_facts
from qloc.extract.prompts.held_out_text import pieces
from qloc.extract.prompts.tokenizing import TokenizedQuery
from qloc.facts import Query
from qloc.phase_plan import EditPlan, RomePlan

SLOTS = {"own": (4, 0), "union": (9, 1)}
"""Neurons of each set, and what their draw is seeded with besides the fact."""

TEXT = "The capital of France is Paris. Kenya's capital, Nairobi. A cat sits. Peru's capital city is Lima ."


@pytest.fixture(scope="session")
def rome_of(tiny: Callable[[str], Any]) -> Callable[..., Rome]:
    """Make what edits a tiny model, in float64."""

    def make(kind: str, **changed: Any) -> Rome:
        found = source(str(tiny(kind).folder))
        loaded, encoder = found.load(dtype="float64", device="cpu"), found.encoder()
        engine = RowEngine(model=loaded.model, sites=loaded.sites, family=loaded.family, memory=10**9)
        sample = list(pieces(encoder.tokenizer, encoder.family, [TEXT], 60, 16))
        plan = RomePlan(**{"prefixes": 2, "prefix_tokens": 3, "weight_decay": 0.0, **changed})
        return Rome(engine=engine, encoder=encoder, plan=plan, sample=sample, seed=3)

    return make


@pytest.fixture(scope="session")
def new_answer() -> Callable[[Rome], TokenizedQuery]:
    """Ask for the capital of France with an answer of several tokens."""

    def ask(rome: Rome) -> TokenizedQuery:
        asked = rome.encoder.ask(Query(template="t", text="The capital of France is [Y]."), "Ur")
        assert isinstance(asked, TokenizedQuery)
        return asked

    return ask


@pytest.fixture(scope="session")
def search_of(new_answer: Callable[[Rome], TokenizedQuery]) -> Callable[..., ValueSearch]:
    """Prepare the search for that answer's value, with changed constants."""

    def prepare(rome: Rome, **plan: Any) -> ValueSearch:
        search = rome.search("France", new_answer(rome), "Paris")
        assert search is not None
        return replace(search, plan=search.plan.model_copy(update=plan))

    return prepare


@pytest.fixture(scope="session")
def tiny_edit(tiny: Callable[[str], Any], rome_of: Callable[..., Rome]) -> Callable[..., EditRun]:
    """Prepare the edits of one fact of a tiny model, of drawn neurons, in float64."""

    def make(
        kind: str, sets: tuple[str, ...], fact: int = 0, new_object: str = "Nairobi", subject: str = "France"
    ) -> EditRun:
        plan = {"prefixes": 1, "prefix_tokens": 3, "weight_decay": 0.0, "steps": 3}
        rome = rome_of(kind, **plan)
        engine, sites = rome.engine, rome.engine.sites
        slots = {
            name: np.sort(
                np.random.default_rng([fact, seed]).choice(sites.n_layers * sites.n_neurons, n, False)
            )
            for name, (n, seed) in SLOTS.items()
        }
        queries = ask_facts(tiny(kind).facts, rome.encoder).asked[fact]
        return EditRun(
            queries=queries,
            edited=0,
            chose_sets=np.ones(len(queries), dtype=bool),
            new_answers=[new_object] * len(queries),
            probes=(),
            slots=slots,
            part=EditPlan(sets=sets, n_probes=0, greedy_tokens=3, rome=plan),
            embedding=engine.model.get_input_embeddings().weight.detach(),
            norms=output_norms(sites),
            windows=(),
            encoder=rome.encoder,
            engine=engine,
            seed=(0, fact),
            subject=subject,
            rome=rome,
        )

    return make
