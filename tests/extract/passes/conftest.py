"""Tiny models with their row engines and targets, and a pair of layers small enough to check by hand."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from qloc.extract.models.architectures import Sites
from qloc.extract.models.loading import source
from qloc.extract.passes.activation_changes import Cells
from qloc.extract.passes.late_join_proof import ChangeKind, joining
from qloc.extract.passes.row_engine import RowEngine, sharing
from qloc.extract.passes.weight_changes import EditRows
from qloc.extract.prompts.askable import ask_facts
from qloc.extract.prompts.tokenizing import Target, TokenizedQuery, Tokens


@pytest.fixture(scope="session")
def queries_of(tiny: Callable[[str], Any]) -> Callable[[str], list[TokenizedQuery]]:
    """The askable queries of a tiny model."""

    @cache
    def build(kind: str) -> list[TokenizedQuery]:
        made = tiny(kind)
        asking = ask_facts(made.facts, source(str(made.folder)).encoder())
        return [query for of_fact in asking.asked for query in of_fact]

    return build


@pytest.fixture(scope="session")
def plain_rows(
    tiny: Callable[[str], Any], queries_of: Callable[[str], list[TokenizedQuery]]
) -> Callable[..., tuple[RowEngine, list[Target]]]:
    """An engine whose rows each run whole prompts through all layers, and every target; made once."""

    @cache
    def build(kind: str, dtype: str = "float64") -> tuple[RowEngine, list[Target]]:
        loaded = source(str(tiny(kind).folder)).load(dtype=dtype, device="cpu")
        targets = list(Tokens.of(queries_of(kind)).targets)
        engine = RowEngine(model=loaded.model, sites=loaded.sites, family=loaded.family, memory=10**9)
        return engine, targets

    return build


@pytest.fixture(scope="session")
def proved_rows(plain_rows: Callable[..., Any]) -> Callable[..., tuple[RowEngine, list[Target]]]:
    """The same engine, proved for changes of activations or for edits."""

    @cache
    def build(kind: str, what: ChangeKind, dtype: str = "float64") -> tuple[RowEngine, list[Target]]:
        engine, targets = plain_rows(kind, dtype)
        if what == "cells":
            engine = sharing(engine, targets, 1e-5)
        return joining(engine, targets, what), targets

    return build


@pytest.fixture(scope="session")
def hidden_of() -> Callable[..., torch.Tensor]:
    """Final hidden states of rows, (row, hidden), in the order asked for."""

    def run(
        engine: RowEngine,
        targets: list[Target],
        row_target: np.ndarray,
        cells: Cells,
        edits: EditRows | None = None,
    ) -> torch.Tensor:
        by_row: dict[int, torch.Tensor] = {}
        for done in engine.passes(targets, row_target, cells, edits=edits):
            by_row |= dict(zip(done.rows.tolist(), done.hidden, strict=True))
        return torch.stack([by_row[row] for row in range(len(row_target))])

    return run


@pytest.fixture
def two_layers() -> Sites:
    """Two down-projections of three neurons each, in float64: what they write is easy to compute."""
    torch.manual_seed(0)
    downs = tuple(nn.Linear(3, 2).double().requires_grad_(False) for _ in range(2))
    return Sites(blocks=(nn.Identity(), nn.Identity()), downs=downs, head=nn.Linear(2, 5))
