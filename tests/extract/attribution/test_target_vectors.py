"""Vectors at targets, batch by batch, are those of single prompts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from qloc.extract.attribution.target_vectors import target_vectors


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_vectors_in_batches_are_those_of_single_prompts(
    engine_of: Any, plain: Any, close: Any, kind: str
) -> None:
    loaded, engine, targets = engine_of(kind, "float64")
    for one in (engine, replace(engine, memory=50_000)):
        rows: dict[int, torch.Tensor] = {}
        for indices, vectors in target_vectors(one, targets):
            assert len({len(targets[index].ids) for index in indices}) == 1
            rows |= dict(zip(indices, vectors, strict=True))
        assert sorted(rows) == list(range(len(targets)))
        for index in range(0, len(targets), 3):
            close(rows[index], plain(loaded.model, list(loaded.sites.downs), targets[index]).vectors())
