"""A tiny GPT-2 whose blocks are written out, with one corrupted prompt of it; and planned phases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from qloc.extract.models.loading import LoadedModel, source
from qloc.extract.signals.extraction import Extraction
from qloc.extract.tracing.phase import Tracing, prepare
from qloc.extract.tracing.states import Prompts, TracedSites
from qloc.phase_plan import TracingPlan
from qloc.plan import Plan


@dataclass(frozen=True, kw_only=True)
class WrittenOut:
    """GPT-2: a block is h ↦ x + MLP(norm(x)), where x = h + attention(norm(h)), h of shape (prompt, token, hidden)."""

    loaded: LoadedModel
    clean: Prompts
    corrupted: Prompts

    @property
    def traced(self) -> TracedSites:
        blocks = self.loaded.model.transformer.h
        return TracedSites(
            sites=self.loaded.sites,
            attention=tuple(block.attn.c_proj for block in blocks),
            embedding=self.loaded.model.transformer.wte,
        )

    def states(self, prompts: Prompts) -> tuple[list[Tensor], Tensor]:
        """Inputs of each block, then the output of the last; and the final hidden states."""
        model, kept = self.loaded.model, []
        embedded = model.transformer.wte(prompts.ids)
        handle = model.transformer.ln_f.register_forward_pre_hook(lambda _, args: kept.append(args[0]))
        with torch.no_grad():
            given = embedded if prompts.noise is None else embedded + prompts.noise
            out = model.transformer(inputs_embeds=given, output_hidden_states=True)
        handle.remove()
        return [*out.hidden_states[:-1], kept[0]], out.last_hidden_state

    def halves(self, layer: int, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """What attention and the MLP of a block add to its input."""
        block = self.loaded.model.transformer.h[layer]
        with torch.no_grad():
            attention = block.attn(block.ln_1(hidden))[0]
            return attention, self.mlp(layer, hidden + attention)

    def mlp(self, layer: int, hidden: Tensor) -> Tensor:
        block = self.loaded.model.transformer.h[layer]
        with torch.no_grad():
            added: Tensor = block.mlp(block.ln_2(hidden))
        return added


@pytest.fixture(scope="session")
def written_out(families: Any) -> WrittenOut:
    """Return GPT-2, a prompt of nine tokens, and the same twice with noise at its second and third."""
    ids = torch.tensor([families["gpt2"].targets()[1].ids])
    noise = torch.zeros(2, ids.shape[1], 32, dtype=torch.float64)
    noise[:, 1:3] = 10 * torch.randn(
        2, 2, 32, generator=torch.Generator().manual_seed(3), dtype=torch.float64
    )
    corrupted = Prompts(ids=ids.expand(2, -1), noise=noise)
    return WrittenOut(loaded=families["gpt2"].loaded, clean=Prompts(ids=ids), corrupted=corrupted)


@pytest.fixture(scope="session")
def phase_of(tiny: Callable[[str], Any]) -> Callable[..., Tracing]:
    """Plan phase tracing on a tiny model."""

    def plan(kind: str = "gpt2", unit_facts: int = 32, **changed: Any) -> Tracing:
        made = tiny(kind)
        plan = Plan(model=str(made.folder), methods="ig", dtype="float64", unit_facts=unit_facts, threads=1)
        extraction = Extraction(plan, source(str(made.folder)), made.facts)
        return prepare(extraction, TracingPlan(**{"samples": 2, "window": 0.6, **changed}))

    return plan
