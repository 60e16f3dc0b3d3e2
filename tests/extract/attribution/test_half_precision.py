"""The model in half precision; what is summed and stored in float32, close to the float32 extraction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from qloc.block import Block
from qloc.extract.attribution.engine import proved
from qloc.extract.models.loading import source
from qloc.extract.signals.extraction import Extraction
from qloc.plan import Plan


def _extraction(tiny: Any, dtype: str, **more: Any) -> Extraction:
    plan = Plan(model=str(tiny.folder), methods="ig,grad_x_act", steps=4, dtype=dtype, **more)
    return Extraction(plan, source(str(tiny.folder)), tiny.facts)


def _block(extraction: Extraction) -> Block:
    return extraction.extract(extraction.outline.units[0])


@pytest.mark.parametrize("kind", ["gpt2", "llama", "gpt_neox", "bert"])
@pytest.mark.parametrize(("dtype", "rounding"), [("bfloat16", 2**-8), ("float16", 2**-11)])
def test_half_precision_is_near_float32(
    tiny: Callable[[str], Any], kind: str, dtype: str, rounding: float
) -> None:
    half, wide = _extraction(tiny(kind), dtype), _extraction(tiny(kind), "float32")
    ours, theirs = _block(half), _block(wide)
    assert half.engine.kind == wide.engine.kind  # rows grow in half precision too
    assert half.outline.attrs["dtype"] == dtype
    for name in ("attribution", "activation", "gradient"):
        a, b = getattr(ours, name), getattr(theirs, name)
        assert a.dtype == np.float32
        # Some dozen roundings, one after another, over three layers of large random weights, relative to all
        # neurons' size; where any were done twice over, or the path's mean in half precision, it would be more.
        assert np.linalg.norm(a - b) < 60 * rounding * np.linalg.norm(b)
    assert ours.queries["log_probability"].dtype == np.float32


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_gradients_of_improbable_answers_do_not_vanish(tiny: Callable[[str], Any], dtype: str) -> None:
    """P of 1e-9 and less: in float16, whose smallest number is 6e-8, ∂P would be zero."""
    halves = []
    for name in (dtype, "float32"):
        extraction = _extraction(tiny("llama"), name, answer_tokens="first")
        model = extraction.loaded.model
        with torch.no_grad():
            model.lm_head.weight.mul_(32.0)  # exact in every dtype
        halves.append(_block(extraction))
    unlikely = np.flatnonzero(halves[1].queries["token_log_probability"][:, 0] < np.log(1e-9))
    assert unlikely.size
    for query in unlikely:
        a, b = (block.gradient[query].ravel().astype(np.float64) for block in halves)
        assert 0 < np.abs(b).max() < 1e-7
        # P itself, e to the power of large logits that are rounded, is off by a factor; directions are not.
        assert float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) > 0.95


def test_the_path_is_averaged_in_float32(tiny: Callable[[str], Any]) -> None:
    """512 equal nodes: their mean is that of one, which a sum in bfloat16 (8 bits) could not give."""
    extraction = _extraction(tiny("gpt2"), "bfloat16")
    engine = extraction.engine
    targets = extraction.asking.some_targets()[:1]

    def same(n: int) -> Any:
        return lambda _, activation: torch.stack([activation * 0.5] * n)

    one, many = (
        engine.grown(targets, same(n), torch.full((1, n), 1 / n), range(engine.sites.n_layers))
        for n in (1, 512)
    )
    assert one.mean_gradient.dtype == torch.float32
    scale = float(one.mean_gradient.abs().max())
    # Products with more rows may round otherwise in bfloat16: 2⁻⁸ a step, not 512 · 2⁻⁸.
    assert float((many.mean_gradient - one.mean_gradient).abs().max()) < 0.03 * scale


def test_two_dtypes_of_one_plan_are_compared_with_the_jaccard_of_their_sets(
    tiny: Callable[[str], Any], tmp_path: Path
) -> None:
    from qloc.store.writing.writer import Writer
    from qloc.workflows.exchange import diff

    stores = []
    for dtype in ("float32", "bfloat16"):
        extraction = _extraction(tiny("gpt2"), dtype)
        stores.append(tmp_path / f"{dtype}.zarr")
        with Writer.open(stores[-1], extraction.outline, extraction.fingerprint) as writer:
            writer.write(_block(extraction))
            writer.finalize()
    found = diff(*stores)
    assert found["fingerprint"] == ["signals.parameters.dtype: 'float32' → 'bfloat16'"]
    assert 0.5 < found["sets"]["ig"]["mean"] <= 1
    assert found["arrays"]["signals/attribution"]["unequal"] > 0.5
    assert diff(stores[0], stores[0])["sets"]["ig"]["exact"] == 1.0


def test_the_oracle_agrees_in_half_precision(tiny: Callable[[str], Any]) -> None:
    extraction = _extraction(tiny("llama"), "bfloat16")
    engine, targets = extraction.engine, extraction.asking.some_targets()
    assert proved(replace(engine, kind="after"), targets).kind == "after"
