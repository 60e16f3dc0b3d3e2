"""The model in half precision; what is summed and stored in float32, close to the float32 extraction."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from qloc.extract.signals.extraction import Extraction

PLAN = {"methods": "ig,grad_x_act", "quadrature": "midpoint", "steps": 4}


@pytest.mark.parametrize("kind", ["gpt2", "llama", "gpt_neox", "bert"])
@pytest.mark.parametrize(("dtype", "rounding"), [("bfloat16", 2**-8), ("float16", 2**-11)])
def test_half_precision_is_near_float32(
    study: Callable[..., Extraction], kind: str, dtype: str, rounding: float
) -> None:
    half, wide = study(kind, **PLAN, dtype=dtype), study(kind, **PLAN, dtype="float32")
    ours, theirs = (made.extract(made.outline.units[0]) for made in (half, wide))
    assert half.engine.kind == wide.engine.kind  # rows grow in half precision too
    assert half.outline.attrs["dtype"] == dtype
    for name in ("attribution", "activation", "gradient"):
        a, b = getattr(ours, name), getattr(theirs, name)
        assert a.dtype == np.float32
        # Some dozen roundings, one after another, over three layers of large random weights, relative to all
        # neurons' size; where any were done twice over, or the path's mean in half precision, it would be more.
        assert np.linalg.norm(a - b) < 60 * rounding * np.linalg.norm(b)
    assert ours.queries["log_probability"].dtype == np.float32


def test_two_dtypes_of_one_plan_are_compared_with_the_jaccard_of_their_sets(
    study: Callable[..., Extraction], tmp_path: Path
) -> None:
    from qloc.store.writing.writer import Writer
    from qloc.workflows.exchange import diff

    stores = []
    for dtype in ("float32", "bfloat16"):
        made = study("gpt2", **PLAN, dtype=dtype)
        stores.append(tmp_path / f"{dtype}.zarr")
        with Writer.open(stores[-1], made.outline, made.fingerprint) as writer:
            writer.write(made.extract(made.outline.units[0]))
            writer.finalize()
    found = diff(*stores)
    assert found["fingerprint"] == ["signals.parameters.dtype: 'float32' → 'bfloat16'"]
    assert 0.5 < found["sets"]["ig"]["mean"] <= 1
    assert found["arrays"]["signals/attribution"]["unequal"] > 0.5
    assert diff(stores[0], stores[0])["sets"]["ig"]["exact"] == 1.0
