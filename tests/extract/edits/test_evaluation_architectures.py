"""Edits of every family: rows with an addition are passes with edited weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from qloc.extract.edits.erase_and_update import erasure
from qloc.extract.edits.evaluation import EditTests
from qloc.extract.models.architectures import down_weight
from qloc.extract.passes.late_join_proof import joining
from qloc.extract.passes.row_engine import RowEngine
from qloc.extract.prompts.tokenizing import TokenizedQuery
from qloc.facts import Query


def test_edits_as_rows_are_edited_weights(family: Any) -> None:
    loaded = family.loaded
    if len(set(loaded.sites.downs)) < loaded.sites.n_layers:
        pytest.skip("layers share their weights: never edited")
    target, width = family.targets()[1], loaded.sites.n_neurons
    neurons = np.array([0, width + 1, 2 * width + 2, 2 * width + 3])
    engine = RowEngine(model=loaded.model, sites=loaded.sites, family=loaded.family, memory=10**9)
    engine = joining(engine, family.targets(), "edits")
    if family.join != "full":
        assert engine.way is not None
        assert engine.way.join == family.join_of_rows
    tests = EditTests(engine=engine, edits=[None, erasure(loaded.sites, neurons)])
    query = Query(template="t", text="[Y]")
    found, _ = tests.answers([TokenizedQuery(query=query, answer="", targets=(target,))])
    greedy = None if loaded.family == "masked" else tests.greedy(target.ids, 3, 64)
    weights = [down_weight(loaded.sites.downs[n // width]) for n in neurons.tolist()]
    kept = [weight[:, n % width].clone() for weight, n in zip(weights, neurons.tolist(), strict=True)]
    with torch.no_grad():
        for weight, n in zip(weights, neurons.tolist(), strict=True):
            weight[:, n % width] = 0
        logits = loaded.model(input_ids=torch.tensor([target.ids])).logits[0, target.position]
        following = list(target.ids)
        for _ in range(3 if greedy is not None else 0):
            ahead = loaded.model(input_ids=torch.tensor([following]), use_cache=False).logits[0, -1]
            following.append(int(ahead.argmax()))
        for weight, n, row in zip(weights, neurons.tolist(), kept, strict=True):
            weight[:, n % width] = row
    expected = float(logits.double().log_softmax(0)[target.token])
    assert found.log_probability[1] == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert abs(found.log_probability[1] - found.log_probability[0]) > 1e-4  # an edit that does something
    if greedy is not None:
        assert greedy[1].tolist() == following[-3:]
