"""Growing rows against the oracle, which runs the whole model for every row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from qloc.extract.attribution.engine import GradientEngine
from qloc.extract.attribution.growing_rows import (
    GrowingBatch,
    Join,
    RowGradients,
    growing_rows,
)
from qloc.extract.attribution.integrated_gradients import ScaledPath, integrals
from qloc.extract.attribution.quadrature import quadrature
from qloc.extract.attribution.reference_rows import full_rows
from qloc.extract.prompts.tokenizing import Target
from qloc.extract.signals.extraction import Extraction


def _rows(n_targets: int, layers: Sequence[int]) -> dict[int, Tensor]:
    """Another number of rows in every layer: the last target has one more in all but the first."""
    every = torch.arange(n_targets)
    return {n: torch.cat([every, every.flip(0), every[-1:].repeat(min(n, 1))]) for n in layers}


def _path_of(rows: dict[int, Tensor]) -> Any:
    """Another point in every row."""

    def path(layer: int, activation: Tensor) -> Tensor:
        own = activation[rows[layer]]
        share = torch.linspace(0.1, 0.1 * (layer + 3), len(own), dtype=own.dtype)[:, None]
        return share * own + 0.01

    return path


def _grown(
    engine: GradientEngine, targets: list[Target], layers: Sequence[int], join: Join, cut: bool
) -> RowGradients:
    rows = _rows(len(targets), layers)
    return growing_rows(
        engine.model,
        engine.sites,
        engine.head,
        engine.family,
        targets,
        _path_of(rows),
        rows,
        join,
        engine.carried,
        cut,
    )


def _of_one_length(targets: list[Target]) -> list[Target]:
    """Two different targets of one length, one of them contrasted with another token."""
    lengths = [len(target.ids) for target in targets]
    first = next(n for n, length in enumerate(lengths) if length in lengths[n + 1 :])
    second = lengths.index(lengths[first], first + 1)
    return [targets[first], replace(targets[second], against=17)]


@pytest.mark.parametrize(
    ("kind", "join", "cut"),
    [
        ("gpt2", "after", False),
        ("gpt2", "before", False),
        ("bert", "token", True),
        ("bert", "before", True),
        ("bert", "before", False),
    ],
)
@pytest.mark.parametrize("layers", [[0, 1, 2], [1]])
def test_every_number_is_the_oracles(
    engine_of: Any, close: Any, kind: str, join: Join, cut: bool, layers: list[int]
) -> None:
    loaded, engine, targets = engine_of(kind, "float64")
    batch = _of_one_length(targets)
    ours = _grown(engine, batch, layers, join, cut)
    rows = _rows(len(batch), layers)
    for n, target in enumerate(batch):

        def alone(layer: int, activation: Tensor, n: int = n) -> Tensor:
            return _path_of(rows)(layer, activation.expand(len(batch), -1))[rows[layer] == n]

        single = full_rows(loaded.model, loaded.sites, target, alone, layers)
        for name in ("activation", "probability", "hidden"):
            close(getattr(ours, name)[n], getattr(single, name)[0], 1e-9)
        close(ours.gradient[n, layers], single.gradient[0, layers], 1e-9)
        for layer in layers:
            own = rows[layer] == n
            of_neurons = replace(engine, kind=join).to_neurons(layer, ours.row_gradient[layer][own])
            close(of_neurons, single.row_gradient[layer], 1e-8)  # a single row may be far below its sum
            close(ours.row_probability[layer][own], single.row_probability[layer], 1e-9)
            at_one = replace(engine, kind=join).to_neurons(layer, ours.own_gradient[n, layer])
            close(at_one, ours.gradient[n, layer], 1e-9)


def test_a_way_that_does_not_suit_a_model_gives_other_numbers(engine_of: Any) -> None:
    """BERT's layer norm stands behind the residual sum: its blocks are not affine in the down-projection."""
    _, engine, targets = engine_of("bert", "float64")
    batch = _of_one_length(targets)
    after, token = (_grown(engine, batch, [0, 1, 2], join, True) for join in ("after", "token"))
    assert not torch.allclose(after.row_gradient[0], token.row_gradient[0], rtol=1e-3, atol=0)
    torch.testing.assert_close(after.activation, token.activation)


def test_tokens_need_attention_at_the_target(engine_of: Any) -> None:
    _, engine, targets = engine_of("bert", "float64")
    with pytest.raises(RuntimeError, match=r"^attention at the target is not known$"):
        _grown(engine, targets[:1], [0], "token", False)


def test_no_hook_stays_after_an_error(engine_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, engine, targets = engine_of("gpt2", "float64")

    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(GrowingBatch, "_leave", fail)
    with pytest.raises(ZeroDivisionError):
        _grown(engine, targets[:1], [0], "after", False)
    assert not any(
        module._forward_hooks or module._forward_pre_hooks or module._forward_hooks_with_kwargs
        for module in loaded.model.modules()
    )


def test_what_runs_at_the_target_alone_is_not_computed_elsewhere(engine_of: Any) -> None:
    """Products of the last block, (rows · positions) and of all others: counted, not timed."""
    _, engine, targets = engine_of("bert", "float32")
    path = ScaledPath.of(quadrature("midpoint", 4))
    rows = {}
    for cut, join in ((True, "token"), (False, "before")):
        seen: list[int] = []
        handles = [
            down.register_forward_pre_hook(lambda _, args, seen=seen: seen.append(args[0][..., 0].numel()))
            for down in engine.sites.downs
        ]
        list(integrals(replace(engine, kind=join, cut=cut), targets[:1], path))
        for handle in handles:
            handle.remove()
        rows[join] = seen
    length, new = len(targets[0].ids), len(path.passes[0].alphas)
    # Three layers. Each but the last: the rows there are as whole sequences, then those that join as tokens.
    assert rows["token"] == [length, new, (1 + new) * length, new, 1 + 3 * new]
    assert rows["before"] == [(1 + layers * new) * length for layers in (1, 2, 3)]


# ---- half precision


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_gradients_of_improbable_answers_do_not_vanish(
    tiny: Callable[[str], Any], fresh_study: Callable[..., Extraction], dtype: str
) -> None:
    """P of 1e-9 and less: in float16, whose smallest number is 6e-8, ∂P would be zero.

    A long answer, since rows are proved on its last token: one that is no less than 1e-38 probable.
    """
    facts = tiny("llama").facts
    *others, last = facts.facts
    facts = replace(facts, facts=(*others, replace(last, object="Ouagadougou", objects=("Ouagadougou",))))
    blocks = []
    for name in (dtype, "float32"):
        made = fresh_study(
            "llama",
            facts,
            methods="ig,grad_x_act",
            quadrature="midpoint",
            steps=4,
            dtype=name,
            answer_tokens="first",
        )
        model = made.loaded.model
        with torch.no_grad():
            model.lm_head.weight.mul_(32.0)  # exact in every dtype
        blocks.append(made.extract(made.outline.units[0]))
    half, wide = blocks
    unlikely = np.flatnonzero(wide.queries["token_log_probability"][:, 0] < np.log(1e-9))
    assert unlikely.size
    for query in unlikely:
        a, b = (block.gradient[query].ravel().astype(np.float64) for block in (half, wide))
        assert 0 < np.abs(b).max() < 1e-7
        # P itself, e to the power of large logits that are rounded, is off by a factor; directions are not.
        assert float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) > 0.95


def test_the_path_is_averaged_in_float32(engine_of: Any) -> None:
    """512 equal nodes: their mean is that of one, which a sum in bfloat16 (8 bits) could not give."""
    _, engine, targets = engine_of("gpt2", "bfloat16")

    def same(n: int) -> Any:
        return lambda _, activation: torch.stack([activation * 0.5] * n)

    one, many = (engine.paths(targets[:1], same(n), torch.full((1, n), 1 / n)) for n in (1, 512))
    assert one.mean_gradient.dtype == torch.float32
    scale = float(one.mean_gradient.abs().max())
    # Products with more rows may round otherwise in bfloat16: 2⁻⁸ a step, not 512 · 2⁻⁸.
    assert float((many.mean_gradient - one.mean_gradient).abs().max()) < 0.03 * scale
