"""What is proved on a model: where its attention writes, and that shortcuts give what plain passes give."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from qloc.errors import InputError
from qloc.extract.passes.row_engine import RowEngine
from qloc.extract.tracing import proof
from qloc.extract.tracing.proof import ATTENTION_PATHS, proved, refused
from qloc.extract.tracing.restored_rows import Shortcuts, TracingEngine, Windows


def _engine(loaded: Any) -> RowEngine:
    return RowEngine(model=loaded.model, sites=loaded.sites, family=loaded.family, memory=10**8)


def _windows(loaded: Any) -> Windows:
    return {part: [range(n, n + 1) for n in range(loaded.sites.n_layers)] for part in ("mlp", "attention")}


def _proved(family: Any) -> TracingEngine:
    return proved(_engine(family.loaded), family.targets()[::5], _windows(family.loaded))


@pytest.mark.parametrize(
    ("name", "path", "behind"),
    [("gpt2", "attn.c_proj", True), ("bert", "attention.output.dense", False)],
)
def test_the_projection_is_found_and_the_quickest_rows_taken(
    families: Any, name: str, path: str, behind: bool
) -> None:
    """Tokens of masked models see those behind them: no row runs a part of its prompt."""
    found, loaded = _proved(families[name]), families[name].loaded
    assert found.traced.attention == tuple(block.get_submodule(path) for block in loaded.sites.blocks)
    assert found.traced.embedding is loaded.model.get_input_embeddings()
    assert found.shortcuts == Shortcuts(behind=behind, cut=True)


def test_a_projection_that_does_not_restore_its_block_is_not_taken(
    families: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The norm behind attention is tried first and passed over; alone, it is refused."""
    family = families["gpt2"]
    monkeypatch.setattr(proof, "ATTENTION_PATHS", ("ln_2", *ATTENTION_PATHS))
    found = _proved(family)
    assert found.traced.attention == tuple(block.attn.c_proj for block in family.loaded.sites.blocks)
    monkeypatch.setattr(proof, "ATTENTION_PATHS", ("ln_2",))
    with pytest.raises(
        InputError, match="no projection behind its attention is known that restores its blocks"
    ):
        _proved(family)


def test_blocks_without_attention_are_refused_by_the_model_s_type(families: Any) -> None:
    """LFM2 convolves in some of its layers."""
    told = (
        "model type is 'lfm2'; expected one whose parts can be restored: no projection behind its attention is "
        "known that restores its blocks. At phase tracing. Leave tracing out of --phases."
    )
    with pytest.raises(InputError, match=re.escape(told)):
        _proved(families["lfm2 convolution"])
    assert str(refused(families["gpt2"].loaded.model, "why")).startswith("model type is 'gpt2'; expected one")


@pytest.mark.parametrize(
    ("wrong", "taken"),
    [
        (lambda shortcuts: shortcuts.cut, Shortcuts(behind=True, cut=False)),
        (lambda shortcuts: shortcuts.behind, Shortcuts(behind=False, cut=True)),
        (lambda _: True, None),
    ],
    ids=["cut", "behind", "all"],
)
def test_rows_that_are_off_are_not_taken(
    families: Any, monkeypatch: pytest.MonkeyPatch, wrong: Any, taken: Shortcuts | None
) -> None:
    """A hundredth added to the states of the rows that a shortcut runs is found."""
    run = TracingEngine.passes

    def off(self: TracingEngine, *args: Any) -> Iterator[Any]:
        for rows, hidden in run(self, *args):
            yield rows, hidden + 0.01 * wrong(self.shortcuts)

    monkeypatch.setattr(TracingEngine, "passes", off)
    if taken is None:
        with pytest.raises(InputError, match="rows that join late do not give what plain passes give"):
            _proved(families["gpt2"])
    else:
        assert _proved(families["gpt2"]).shortcuts == taken
