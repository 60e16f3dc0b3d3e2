"""The embedded models, loaded once, and their facts. Tests have coarse margins, so that retraining breaks none."""

from __future__ import annotations

import json
from typing import Any, get_args

import numpy as np
import pytest
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from qloc.extract.embedded import Kind, facts_path
from qloc.extract.embedded.training.recall import RecallQuery, asked, load


@pytest.fixture(scope="session", params=get_args(Kind))
def model(request: pytest.FixtureRequest) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Return an embedded model and its tokenizer."""
    return load(request.param)


@pytest.fixture(scope="session")
def facts() -> list[dict[str, Any]]:
    """Return the lines of the facts file."""
    return [json.loads(line) for line in facts_path().read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="session")
def sample() -> dict[tuple[str, bool], list[RecallQuery]]:
    """Return 24 facts' queries of each class, and all minimal pairs, by (class, seen)."""
    queries = asked(facts_path())
    rng = np.random.default_rng(0)
    drawn: dict[tuple[str, bool], list[RecallQuery]] = {}
    for fact_class in ("wide", "narrow", "conflict", "syntax"):
        ids = list(dict.fromkeys(query.fact for query in queries if query.fact_class == fact_class))
        kept = set(ids if fact_class == "syntax" else rng.permutation(ids)[:24].tolist())
        for query in queries:
            if query.fact in kept:
                drawn.setdefault((fact_class, query.seen), []).append(query)
    return drawn
