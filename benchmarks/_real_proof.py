"""Stored numbers of a real model against the plain model in float64, and sets in half precision.

Parts ``brute`` and ``half`` of ``real_models.py``. Brute force uses nothing of the engine: the model as a
user calls it, one prompt a pass; a layer's vector replaced by a hook and differentiated by autograd, node by
node; an activation scaled by a hook; attention written out and changed; rows of weights overwritten and put
back.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _countries import study_facts
from _real_phases import N_QUERIES, plan_of, study_of
from numpy.polynomial.legendre import leggauss
from torch import Tensor

from qloc.arms import row_of
from qloc.block import Block
from qloc.extract.edits.phase import Edits
from qloc.extract.interventions.knowledge_synapses import COLUMN_SHARE, RENORMALIZED, SynapseRun
from qloc.extract.interventions.phase import Interventions
from qloc.extract.models.architectures import down_weight
from qloc.extract.prompts.tokenizing import TokenizedQuery
from qloc.extract.signals.extraction import Extraction, prepare
from qloc.phase_plan import EditPlan, InterventionPlan
from qloc.workflows.phase_steps import STEPS

NODES, ROWS = 96, 32
"""Gauss–Legendre nodes of the reference, on one layer of each query, and how many of them make a batch."""

# In the order in which a store keeps sets and operations: outcomes are found by their place.
ARMS = InterventionPlan(sets=("own", "neighbor", "union", "top"), operations=("suppress", "enhance"))
EDITS = EditPlan(
    operations=("erase", "update"), sets=("own", "union"), n_probes=2, text_tokens=16, greedy_tokens=0
)


class Plain:
    """The model as a user calls it."""

    def __init__(self, extraction: Extraction) -> None:
        self.model, self.sites = extraction.loaded.model, extraction.loaded.sites

    def logs(self, query: TokenizedQuery) -> float:
        """log P of a whole answer."""
        total = 0.0
        for target in query.targets:
            with torch.no_grad():
                logits = self.model(input_ids=torch.tensor([target.ids])).logits[0, target.position]
            total += float(logits.double().log_softmax(0)[target.token])
        return total

    @contextmanager
    def hooked(self, change: Callable[[int, Tensor], Tensor | None]) -> Iterator[None]:
        """Each layer's vector at the last position goes through ``change``; None leaves it."""

        def hook(layer: int) -> Callable[..., Any]:
            def put(_: Any, args: Any) -> Any:
                new = change(layer, args[0][:, -1])
                if new is None:
                    return None
                return (torch.cat([args[0][:, :-1], new[:, None]], 1), *args[1:])

            return put

        handles = [down.register_forward_pre_hook(hook(layer)) for layer, down in enumerate(self.sites.downs)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def attribution(self, query: TokenizedQuery, layer: int) -> np.ndarray:
        """Integrated gradients of one layer from zero, by autograd, mean over answer tokens."""
        nodes, weights = leggauss(NODES)
        scores = []
        for target in query.targets:
            ids, kept = torch.tensor([target.ids]), list[Tensor]()
            with (
                torch.no_grad(),
                self.hooked(lambda at, own, kept=kept: kept.append(own) if at == layer else None),  # type: ignore[misc]
            ):
                self.model(input_ids=ids)
            own, total = kept[0], torch.zeros_like(kept[0])
            for node, weight in zip(
                torch.tensor(nodes).split(ROWS), torch.tensor(weights).split(ROWS), strict=True
            ):
                leaf = ((node[:, None] + 1) / 2 * own).requires_grad_(True)
                with self.hooked(lambda at, _, leaf=leaf: leaf if at == layer else None):  # type: ignore[misc]
                    logits = self.model(input_ids=ids.expand(len(node), -1)).logits[:, target.position]
                chance = logits.double().softmax(1)[:, target.token]
                (gradient,) = torch.autograd.grad((weight / 2 * chance).sum(), leaf)
                total += gradient.sum(0)
            scores.append((own * total)[0].detach().numpy())
        return np.asarray(np.mean(scores, 0))

    def scaled(self, query: TokenizedQuery, neurons: np.ndarray, factor: float) -> float:
        """log P of the answer with some activations scaled at the target."""
        layer, neuron = np.divmod(neurons, self.sites.n_neurons)

        def change(at: int, own: Tensor) -> Tensor | None:
            chosen = neuron[layer == at]
            if not len(chosen):
                return None
            new = own.clone()
            new[:, chosen] *= factor
            return new

        with self.hooked(change):
            return self.logs(query)

    @contextmanager
    def edited(self, neurons: np.ndarray, rows: Sequence[Tensor]) -> Iterator[None]:
        """Rows of down-projections overwritten."""
        places = [divmod(int(cell), self.sites.n_neurons) for cell in neurons]
        weights = [down_weight(self.sites.downs[layer]) for layer, _ in places]
        before = [weight[:, n].clone() for weight, (_, n) in zip(weights, places, strict=True)]
        try:
            for weight, (_, n), row in zip(weights, places, rows, strict=True):
                weight[:, n] = row
            yield
        finally:
            for weight, (_, n), row in zip(weights, places, before, strict=True):
                weight[:, n] = row

    @contextmanager
    def attended(self, share: np.ndarray, operation: str) -> Iterator[None]:
        """Attention written out, some columns of (layer, head, token) changed after the softmax."""
        from transformers import AttentionInterface
        from transformers.masking_utils import AttentionMaskInterface, eager_mask

        calls = [0]

        def attend(_: Any, q: Tensor, k: Tensor, v: Tensor, mask: Any, **given: Any) -> Any:
            groups = q.shape[1] // k.shape[1]
            k, v = (part.repeat_interleave(groups, 1) for part in (k, v))
            scores = q @ k.transpose(2, 3) * (given.get("scaling") or q.shape[-1] ** -0.5)
            weights = (scores if mask is None else scores + mask[..., : k.shape[2]]).softmax(-1)
            columns = torch.as_tensor(share[calls[0]], dtype=weights.dtype)[:, : weights.shape[-1]]
            weights = weights * (1 + COLUMN_SHARE[operation] * columns)[None, :, None]
            if operation in RENORMALIZED:
                weights = (weights / weights.sum(-1, keepdim=True)).nan_to_num(0.0)
            calls[0] = (calls[0] + 1) % len(share)
            return (weights @ v).transpose(1, 2), None

        AttentionInterface.register("written_out", attend)
        AttentionMaskInterface.register("written_out", eager_mask)
        before = self.model.config._attn_implementation
        self.model.set_attn_implementation("written_out")
        try:
            yield
        finally:
            self.model.set_attn_implementation(before)


def brute(model: str, n_facts: int) -> dict[str, list[dict[str, Any]]]:
    """Largest differences of what would be stored from brute force, float64, by phase."""
    with tempfile.TemporaryDirectory() as folder:
        path = study_facts(Path(folder), n_facts, N_QUERIES)
        extraction = prepare(plan_of(model, path, "float64", interventions=ARMS, edits=EDITS))
        unit = extraction.outline.units[0]
        queries = [query for of_fact in extraction.asking.asked for query in of_fact]
        plain, block = Plain(extraction), extraction.extract(unit)
        print(f"{len(queries)} queries: signals done", flush=True)
        rows = [_attributions(plain, block, queries)]
        study = study_of(extraction, block)
        rows += _arms(plain, extraction, study, queries)
        rows.append(_edits(plain, extraction, study, queries))
    return {f"brute force, float64, {len(queries)} queries": rows}


def _row(what: str, n: int, differences: Sequence[float], unit: str) -> dict[str, Any]:
    """Return a row of the table; NaN where nothing could be compared, as edits of one fact alone."""
    largest = float(max(differences, default=np.nan))
    return {"what": what, "compared": n, "largest difference": largest, "in": unit}


def _attributions(plain: Plain, block: Block, queries: Sequence[TokenizedQuery]) -> dict[str, Any]:
    """One layer of each query: that of most gradients, of median, of fewest, in turn."""
    differences = []
    for number, query in enumerate(queries):
        order = np.argsort(-block.n_nodes[0, number], kind="stable")
        layer = int(order[(number % 3) * (len(order) - 1) // 2])
        largest = block.attribution[0, number].max()
        found, expected = block.attribution[0, number, layer], plain.attribution(query, layer)
        near = expected >= 0.05 * largest
        differences.append(float(np.abs(found - expected)[near].max(initial=0.0) / largest))
        print(f"attribution {number}, layer {layer}: {differences[-1]:.1e}", flush=True)
    return _row(f"attribution, one layer, Gauss {NODES}", len(differences), differences, "the maximum")


def _arms(
    plain: Plain, extraction: Extraction, study: Any, queries: Sequence[TokenizedQuery]
) -> list[dict[str, Any]]:
    unit = extraction.outline.units[0]
    arms_of, run = STEPS["interventions"](extraction, study)
    assert isinstance(run, Interventions)
    made = run._neuron_run(unit, arms_of(unit))
    sets, stored = made.sets, made.arrays()["log_probability"]
    differences = []
    for number, query in enumerate(queries):
        for place, name in enumerate(ARMS.sets):
            neurons = row_of(sets[name], number)
            for operation, factor in ((0, 0.0), (1, 2.0)):
                if len(neurons):
                    expected = plain.scaled(query, neurons, factor)
                    differences.append(abs(float(stored[operation, place, number]) - expected))
    return [
        _row("arms: log P", len(differences), differences, "nats (stored as float32)"),
        _synapses(plain, run._synapse_run(made), queries),
    ]


def _synapses(plain: Plain, synapses: SynapseRun, queries: Sequence[TokenizedQuery]) -> dict[str, Any]:
    stored, differences = synapses.arrays()["log_probability"], list[float]()
    for (token, name), (share, _) in synapses._weights.items():
        query = int(synapses.tokens.query[token])
        if len(queries[query].targets) > 1:
            continue
        for place, operation in enumerate(synapses.operations):
            with plain.attended(share, operation):
                expected = plain.logs(queries[query])
            differences.append(abs(float(stored[place, name, query]) - expected))
    return _row("synapses: log P", len(differences), differences, "nats (stored as float32)")


def _edits(
    plain: Plain, extraction: Extraction, study: Any, queries: Sequence[TokenizedQuery]
) -> dict[str, Any]:
    unit = extraction.outline.units[0]
    arms_of, run = STEPS["edits"](extraction, study)
    assert isinstance(run, Edits)
    arms = arms_of(unit)
    arrays = run.extract(unit, arms).arrays
    encoder, table, differences = extraction.source.encoder(), run._embedding, list[float]()
    first = np.cumsum([0, *map(len, extraction.asking.asked)])
    for fact in np.flatnonzero(arms.edited_query >= 0).tolist():
        edited = queries[int(arms.edited_query[fact])]
        new = encoder.ask(edited.query, arms.new_object[fact])
        for place, name in enumerate(EDITS.sets):
            neurons = row_of(arms.sets[name], fact)
            for number, operation in enumerate(EDITS.operations):
                if not len(neurons) or not isinstance(new, TokenizedQuery):
                    continue
                rows = []
                for cell in neurons.tolist():
                    layer, neuron = divmod(cell, plain.sites.n_neurons)
                    row = down_weight(plain.sites.downs[layer])[:, neuron]
                    e_old, e_new = (
                        table[[target.token for target in one.targets]].mean(0) for one in (edited, new)
                    )
                    change = row.norm() * (EDITS.lambda2 * e_new / e_new.norm() - e_old / e_old.norm())
                    rows.append(torch.zeros_like(row) if operation == "erase" else row + change)
                with plain.edited(neurons, rows):
                    for query in range(first[fact], first[fact + 1]):
                        stored = arrays["edits/log_probability"][number, place, fact, query - first[fact]]
                        differences.append(abs(float(stored) - plain.logs(queries[query])))
    return _row("edits: log P", len(differences), differences, "nats (stored as float32)")


def half(model: str, n_queries: int) -> dict[str, list[dict[str, Any]]]:
    """Jaccard index of the sets in bfloat16 with those in float32, and their largest bounds."""
    from real_models import DEFAULT, Found, jaccard, study

    from qloc.extract.attribution.integrated_gradients import path_of
    from qloc.plan import Plan

    engine, targets, _ = study(model, "float32", n_queries)
    reference = Found(engine, targets, DEFAULT)
    del engine
    narrow, asked, _ = study(model, "bfloat16", 10**6)
    place = {(target.ids, target.token): number for number, target in enumerate(asked)}
    both = [n for n, target in enumerate(targets) if (target.ids, target.token) in place]
    own = [asked[place[targets[n].ids, targets[n].token]] for n in both]
    shared = jaccard(Found(narrow, own, path_of(Plan(), torch.bfloat16)).scores, reference.scores[both])
    by = shared.reshape(3, -1)
    rows = [
        {"threshold": t, "queries": len(both), "Jaccard": f"{one.mean():.4f}", "worst": f"{one.min():.3f}"}
        for t, one in zip((0.1, 0.2, 0.3), by, strict=True)
    ]
    return {"bfloat16 against float32": rows}
