"""Extractions of tiny models, and their first unit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from qloc.block import Block
from qloc.extract.models.loading import source
from qloc.extract.signals.extraction import Extraction
from qloc.facts import FactSet
from qloc.plan import Plan


@pytest.fixture(scope="session")
def extraction_of(tiny: Callable[[str], Any]) -> Callable[..., Extraction]:
    """Plan an extraction of a tiny model, in float64."""

    def plan(kind: str, facts: FactSet | None = None, **changed: Any) -> Extraction:
        made = tiny(kind)
        chosen = {
            "methods": "ig,grad_x_act",
            "quadrature": "midpoint",
            "steps": 4,
            "dtype": "float64",
            "threads": 1,
            **changed,
        }
        return Extraction(
            Plan(model=str(made.folder), **chosen), source(str(made.folder)), facts or made.facts
        )

    return plan


@pytest.fixture(scope="session")
def block_of() -> Callable[[Extraction], Block]:
    """Run the first unit of an extraction."""
    return lambda extraction: extraction.extract(extraction.outline.units[0])
