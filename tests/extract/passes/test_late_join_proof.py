"""A way of joining is used only where it gives what rows give that each run all layers."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch

from qloc.extract.models.out_of_memory import DoesNotFit
from qloc.extract.passes.activation_changes import Cells
from qloc.extract.passes.late_join import JoiningBatch
from qloc.extract.passes.late_join_proof import joining
from qloc.extract.passes.row_engine import RowEngine


def _no_hooks(engine: RowEngine) -> bool:
    return not any(m._forward_pre_hooks or m._forward_hooks for m in engine.model.modules())


@pytest.mark.parametrize(
    ("kind", "what", "join", "cut"),
    [
        ("gpt2", "cells", "after", False),  # a shared row is one token already
        ("gpt2", "edits", "after", True),
        ("bert", "cells", "before", True),  # its layer norm stands behind the residual sum
        ("bert", "edits", "before", True),
    ],
)
def test_the_quickest_way_that_holds(proved_rows: Any, kind: str, what: Any, join: str, cut: bool) -> None:
    engine, _ = proved_rows(kind, what)
    assert engine.way is not None
    assert (engine.way.join, engine.way.cut, engine.way.fused) == (join, cut, True)
    assert engine.way.carried
    assert _no_hooks(engine)


def test_half_precision_joins_before(proved_rows: Any) -> None:
    """An activation is then made what it is said to become, where a sum would round."""
    engine, _ = proved_rows("gpt2", "cells", "bfloat16")
    assert engine.way is not None
    assert (engine.way.join, engine.way.fused) == ("before", False)


def test_what_does_not_hold_is_not_used(
    plain_rows: Any, hidden_of: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    leave, enter = JoiningBatch._leave, JoiningBatch._enter
    plain, targets = plain_rows("gpt2")

    def lossy(self: JoiningBatch, block: Any, args: Any, output: Any) -> Any:
        found = leave(self, block, args, output)
        return found * 1.01 if self.way.join == "after" else found

    monkeypatch.setattr(JoiningBatch, "_leave", lossy)
    engine = joining(plain, targets, "edits")
    assert engine.way is not None
    assert engine.way.join == "before"
    assert not caplog.records

    def broken(self: JoiningBatch, *given: Any) -> Any:
        enter(self, *given)
        raise RuntimeError("no such block")

    monkeypatch.setattr(JoiningBatch, "_enter", broken)
    with caplog.at_level(logging.WARNING):
        engine = joining(plain, targets, "edits")
    assert engine.way is None
    assert [record.getMessage() for record in caplog.records] == [
        "changed rows run all layers of gpt2, which may take several times longer: "
        "no way to join gives what it gives"
    ]
    assert _no_hooks(engine)
    assert len(hidden_of(engine, targets[:1], np.zeros(2, dtype=np.int64), Cells.none(), None)) == 2


def test_blocks_that_cannot_be_looked_into(
    plain_rows: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> Any:
        raise TypeError("blocks without arguments")

    monkeypatch.setattr("qloc.extract.passes.late_join_proof.carried", fail)
    engine, targets = plain_rows("gpt2")
    assert joining(engine, targets, "edits").way is None
    assert caplog.messages == [
        "changed rows run all layers of gpt2, which may take several times longer: "
        "blocks cannot be looked into (blocks without arguments)"
    ]


@pytest.mark.parametrize("where", ["blocks", "rows"])
def test_too_little_memory_says_nothing_of_the_model(
    plain_rows: Any, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """It is raised, not taken for a way that does not hold."""

    def fail(*_: Any) -> Any:
        raise torch.OutOfMemoryError("no room")

    if where == "blocks":
        monkeypatch.setattr("qloc.extract.passes.late_join_proof.carried", fail)
    else:
        monkeypatch.setattr(JoiningBatch, "_enter", fail)
    engine, targets = plain_rows("gpt2")
    with pytest.raises((torch.OutOfMemoryError, DoesNotFit)):
        joining(engine, targets[:1], "edits")
