"""Encoders of tiny models, built once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from qloc.extract.models.loading import source
from qloc.extract.prompts.tokenizing import Encoder


@pytest.fixture(scope="session")
def encoder_of(tiny: Callable[[str], Any]) -> Callable[[str], Encoder]:
    """Return the encoder of a tiny model."""
    built: dict[str, Encoder] = {}

    def encoder(kind: str) -> Encoder:
        if kind not in built:
            built[kind] = source(str(tiny(kind).folder)).encoder()
        return built[kind]

    return encoder
