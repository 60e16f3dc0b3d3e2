"""Neurons under suppressed synapses: activations by patched attention, gradients by differences of P."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from qloc.extract.interventions.synapse_views import SynapseViews
from qloc.extract.models.loading import source
from qloc.extract.passes.row_engine import RowEngine
from qloc.extract.prompts.askable import ask_facts
from qloc.extract.prompts.minimal_pairs import attributed

ALPHA = 1.2
N_TOKENS = 24


@pytest.fixture(scope="module")
def views_of(tiny: Callable[[str], Any]) -> Callable[[str], tuple[SynapseViews, Any]]:
    def made(kind: str) -> tuple[SynapseViews, Any]:
        model = tiny(kind)
        found = source(str(model.folder))
        loaded = found.load(dtype="float64", device="cpu")
        asked = [one for queries in ask_facts(model.facts, found.encoder()).asked for one in queries]
        fact_of = [
            model.facts.facts[number]
            for number, queries in enumerate(ask_facts(model.facts, found.encoder()).asked)
            for _ in queries
        ]
        width = loaded.sites.n_layers * loaded.sites.n_neurons
        neurons = np.full((len(asked), 5), -1)
        rng = np.random.default_rng(3)
        for query in range(len(asked) - 1):  # the last one is not looked at
            neurons[query, : 5 - query % 2] = np.sort(rng.choice(width, 5, replace=False))[: 5 - query % 2]
        viewed = range(len(asked) - 1)
        every = attributed(asked, fact_of, found.encoder(), "all", "good")
        engine = RowEngine(model=loaded.model, sites=loaded.sites, family=loaded.family, memory=10**9)
        views = SynapseViews(
            passes=[one for one in every if one.query in viewed],
            last={query: asked[query].targets[-1] for query in viewed},
            neurons=neurons,
            texts=lambda ids: np.array([f"<{n}>" for n in ids], dtype=object),
            n_tokens=N_TOKENS,
            alpha=ALPHA,
            engine=engine,
        )
        return views, asked

    return made


class _Plain:
    """Attention written out by itself, in NumPy: columns that are synapses are zeroed after softmax."""

    def __init__(self, engine: RowEngine) -> None:
        self.engine = engine

    def run(
        self, target: Any, synapses: np.ndarray | None, moved: tuple[int, int, float] | None = None
    ) -> tuple[float, np.ndarray, list[np.ndarray]]:
        """P(answer token), activations at the target, weights of each layer."""
        from transformers import AttentionInterface
        from transformers.masking_utils import AttentionMaskInterface, eager_mask

        weights: list[np.ndarray] = []

        def attend(module: Any, q: Any, k: Any, v: Any, mask: Any, **given: Any) -> Any:
            groups = q.shape[1] // k.shape[1]
            scale = given.get("scaling") or q.shape[-1] ** -0.5
            out = []
            here = np.zeros((q.shape[1], q.shape[2], q.shape[2]))
            for head in range(q.shape[1]):
                scores = (q[0, head] @ k[0, head // groups].T * scale).numpy()
                scores = scores + (0 if mask is None else mask[0, 0].numpy())
                shares = np.exp(scores - scores.max(-1, keepdims=True))
                here[head] = shares / shares.sum(-1, keepdims=True)
                kept = here[head] if synapses is None else here[head] * ~synapses[len(weights), head]
                out.append(torch.tensor(kept) @ v[0, head // groups])
            weights.append(here)
            return torch.stack(out, 1)[None], None

        kept: list[np.ndarray] = []

        def hook(layer: int) -> Callable[..., Any]:
            def change(_: Any, args: Any) -> Any:
                rows = args[0].view(1, -1, args[0].shape[-1]).clone()
                kept.append(rows[0, target.position].numpy().copy())
                if moved is not None and moved[0] == layer:
                    rows[0, target.position, moved[1]] += moved[2]
                return (rows.view(args[0].shape), *args[1:])

            return change

        model = self.engine.model
        downs = self.engine.sites.downs
        handles = [down.register_forward_pre_hook(hook(layer)) for layer, down in enumerate(downs)]
        AttentionInterface.register("plain_numpy", attend)
        AttentionMaskInterface.register("plain_numpy", eager_mask)
        before = model.config._attn_implementation
        model.set_attn_implementation("plain_numpy")
        try:
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([target.ids])).logits[0, target.position]
        finally:
            model.set_attn_implementation(before)
            for handle in handles:
                handle.remove()
        return float(logits.softmax(-1)[target.token]), np.array(kept), weights


def _synapses(weights: list[np.ndarray], *, causal: bool) -> np.ndarray:
    """Columns with more than α times the mass of even attention, the first token aside."""
    n = weights[0].shape[-1]
    even = np.array([sum(1 / j for j in range(max(k, 1), n)) if causal else 1.0 for k in range(n)])
    chosen = np.zeros((len(weights), weights[0].shape[0], n), dtype=bool)
    for layer, heads in enumerate(weights):
        for head, rows in enumerate(heads):
            inner = rows[1:, 1:]
            total = inner.sum(-1, keepdims=True)
            shares = np.divide(inner, total, out=np.zeros_like(inner), where=total > 0)
            chosen[layer, head, 1:] = shares.sum(0) > ALPHA * even[1:]
    return chosen


@pytest.mark.parametrize("kind", ["gpt2", "llama", "bert"])
def test_views_equal_brute_force(views_of: Callable[[str], Any], kind: str) -> None:
    """float64, stored as float32; LLaMA's RMSNorm computes in float32, hence a larger step and 2e-2 there."""
    views, asked = views_of(kind)
    arrays, plain = views.arrays(), _Plain(views.engine)
    n_neurons, causal = views.engine.sites.n_neurons, views.engine.family == "causal"
    allowed, step = (2e-2, 1e-2) if kind == "llama" else (1e-4, 1e-5)
    n_chosen = 0
    for query in range(4):
        activation, gradient = np.zeros(5), np.zeros(5)
        targets = asked[query].targets
        for target in targets:
            chosen = _synapses(plain.run(target, None)[2], causal=causal)
            n_chosen += chosen.sum()
            _, now, _ = plain.run(target, chosen)
            for place, neuron in enumerate(views.neurons[query]):
                if neuron < 0:
                    continue
                layer, index = divmod(int(neuron), n_neurons)
                up, down = (plain.run(target, chosen, (layer, index, by))[0] for by in (step, -step))
                activation[place] += now[layer, index] / len(targets)
                gradient[place] += (up - down) / (2 * step) / len(targets)
        there = views.neurons[query] >= 0
        np.testing.assert_allclose(arrays["activation"][query][there], activation[there], rtol=allowed)
        scale = np.abs(gradient).max()
        np.testing.assert_allclose(
            arrays["gradient"][query][there], gradient[there], rtol=allowed, atol=allowed * scale
        )
        assert np.isnan(arrays["activation"][query][~there]).all()
        assert np.isnan(arrays["gradient"][query][~there]).all()
        n = len(targets[-1].ids)
        last = _synapses(plain.run(targets[-1], None)[2], causal=causal)
        np.testing.assert_array_equal(arrays["synapse"][query, :, :, :n], last)
        assert (arrays["synapse"][query, :, :, n:] == -1).all()
        assert arrays["token_text"][query].tolist() == [
            *(f"<{id}>" for id in targets[-1].ids), *[""] * (N_TOKENS - n)
        ]  # fmt: skip
    assert n_chosen


def test_queries_that_are_not_looked_at_are_missing(views_of: Callable[[str], Any]) -> None:
    views, asked = views_of("gpt2")
    arrays = views.arrays()
    assert {name: values.shape[0] for name, values in arrays.items()} == dict.fromkeys(arrays, len(asked))
    assert (arrays["viewed_neuron"][-1] == -1).all()
    assert np.isnan(arrays["activation"][-1]).all()
    assert (arrays["synapse"][-1] == -1).all()
    assert not any(arrays["token_text"][-1])
    assert {name: values.dtype.name for name, values in arrays.items()} == {
        "viewed_neuron": "int32",
        "activation": "float32",
        "gradient": "float32",
        "synapse": "int8",
        "token_text": "object",
    }


def test_views_of_no_query_are_all_missing(views_of: Callable[[str], Any]) -> None:
    from dataclasses import replace

    views, _ = views_of("gpt2")
    none = replace(views, passes=[], last={}, neurons=np.full_like(views.neurons, -1))
    arrays = none.arrays()
    assert np.isnan(arrays["gradient"]).all()
    assert (arrays["synapse"] == -1).all()


def test_suppressing_nothing_gives_the_unchanged_pass(views_of: Callable[[str], Any]) -> None:
    from dataclasses import replace

    views, asked = views_of("bert")
    arrays = replace(views, alpha=1e9).arrays()
    (target,) = asked[0].targets[:1]
    if len(asked[0].targets) == 1:
        _, now, _ = _Plain(views.engine).run(target, None)
        np.testing.assert_allclose(
            arrays["activation"][0], now.ravel()[views.neurons[0]], rtol=1e-5, atol=1e-8
        )
    assert set(np.unique(arrays["synapse"][0])) <= {-1, 0}
