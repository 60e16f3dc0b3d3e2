"""Batches that do not fit go on in halves: the same numbers, and the unit says so."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import forked
import numpy as np
import pytest
import torch

from qloc.block import Block
from qloc.errors import ModelError
from qloc.extract.models.loading import source
from qloc.extract.models.out_of_memory import (
    DoesNotFit,
    in_halves,
    noting_what_shrinks,
    out_of_memory,
    too_large,
)
from qloc.extract.signals.extraction import Extraction
from qloc.plan import Plan


def _extraction(tiny: Any) -> Extraction:
    plan = Plan(
        model=str(tiny.folder), methods="ig,grad_x_act", quadrature="midpoint", steps=4, dtype="float64"
    )
    return Extraction(plan, source(str(tiny.folder)), tiny.facts)


@contextmanager
def _at_most(extraction: Extraction, n_rows: int) -> Iterator[None]:
    """A device on which a block runs at most this many rows."""

    def refuse(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        hidden = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
        if len(hidden) > n_rows:
            raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {len(hidden)} rows.\nMore.")

    blocks = extraction.loaded.sites.blocks
    handles = [block.register_forward_pre_hook(refuse, with_kwargs=True) for block in blocks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _close(block: Block, expected: Block) -> None:
    """Equal but for rounding: 1e-9 of the largest is far above float64's, over three layers."""
    for name in ("attribution", "activation", "gradient"):
        ours, theirs = getattr(block, name), getattr(expected, name)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9 * np.abs(theirs).max())
    np.testing.assert_allclose(block.completeness_gap, expected.completeness_gap, atol=1e-6)
    np.testing.assert_allclose(
        block.queries["log_probability"], expected.queries["log_probability"], rtol=1e-6
    )
    np.testing.assert_array_equal(block.queries["rank"], expected.queries["rank"])
    for name in block.attention:
        np.testing.assert_allclose(block.attention[name], expected.attention[name], atol=2e-3)  # float16


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_a_shrunk_unit_has_the_same_numbers_and_a_note(
    tiny: Callable[[str], Any], kind: str, tmp_path: Path
) -> None:
    from qloc.store.schema import manifest
    from qloc.store.writing.writer import Writer

    extraction = _extraction(tiny(kind))
    unit = extraction.outline.units[0]
    whole = extraction.extract(unit)
    assert whole.notes == {}
    with _at_most(extraction, 6):  # a layer's rows of one query: four nodes, P at zero, and the unpatched one
        shrunk = extraction.extract(unit)
    _close(shrunk, whole)
    told = shrunk.notes["shrunk"]
    assert told["layers"] >= 2
    assert told["targets"] >= 1
    assert extraction.extract(unit).notes == {}  # never from one unit to the next
    with Writer.open(tmp_path / "s.zarr", extraction.outline, extraction.fingerprint) as writer:
        writer.write(shrunk)
        writer.finalize()
    assert manifest.read(tmp_path / "s.zarr")["notes"] == {"0": {"shrunk": told}}


def test_scoring_and_attention_shrink_too(tiny: Callable[[str], Any]) -> None:
    from qloc.extract.passes.attention import attention_of_all
    from qloc.extract.signals.answers import scored

    extraction = _extraction(tiny("gpt2"))
    targets = [target for of_fact in extraction.asking.asked for one in of_fact for target in one.targets]
    loaded, head, sizes = extraction.loaded, extraction.engine.head, extraction.outline.sizes
    expected, attention = scored(loaded, head, targets), attention_of_all(loaded.model, targets, sizes)
    with _at_most(extraction, 1), noting_what_shrinks() as shrunk:
        found, weights = scored(loaded, head, targets), attention_of_all(loaded.model, targets, sizes)
    assert {"scoring", "attention"} == set(shrunk)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    for name in attention:
        np.testing.assert_allclose(weights[name], attention[name], atol=2e-3)


def test_what_cannot_be_cut_further_is_named(tiny: Callable[[str], Any]) -> None:
    extraction = _extraction(tiny("gpt2"))
    unit = extraction.outline.units[0]
    with _at_most(extraction, 5), pytest.raises(ModelError) as caught:
        extraction.extract(unit)
    prompts = {one.prompt for of_fact in extraction.asking.asked for one in of_fact}
    rule = "expected memory for the rows of one query at one layer"
    assert str(caught.value) in {
        f"memory is 'CUDA out of memory. Tried to allocate 6 rows.'; {rule}. At query {prompt!r}. "
        "Give --dtype bfloat16, or a device with more memory."
        for prompt in prompts
    }


def test_memory_that_runs_out_in_the_proof_says_nothing_of_the_model(tiny: Callable[[str], Any]) -> None:
    extraction = _extraction(tiny("gpt2"))
    with (
        _at_most(extraction, 3),
        pytest.raises(ModelError, match=r"^memory is 'CUDA out of memory\.") as caught,
    ):
        _ = extraction.engine
    assert f"At trying {extraction.source.name} on one query." in str(caught.value)


def test_memory_that_runs_out_between_batches_is_told_too(tiny: Callable[[str], Any]) -> None:
    extraction = _extraction(tiny("gpt2"))

    def work() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(ModelError, match=r"^memory is 'CUDA out of memory\.'.*between its batches\."):
        extraction.run(work, str)


def test_other_errors_are_no_reason_to_shrink() -> None:
    def broken(_: list[int]) -> None:
        raise RuntimeError("shapes differ")

    with noting_what_shrinks() as shrunk, pytest.raises(RuntimeError, match="shapes differ"):
        list(in_halves("batch", [1, 2], broken))
    assert not shrunk


def test_a_single_item_that_does_not_fit_is_told() -> None:
    def only_even(items: list[int]) -> int:
        if any(item % 2 for item in items):
            raise MemoryError
        return sum(items)

    given = in_halves("batch", [2, 4, 5], only_even)
    assert next(given) == ([2, 4], 6)
    with pytest.raises(DoesNotFit) as caught:
        next(given)
    assert caught.value.item == 5


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("could not create a memory object"), True),
        (RuntimeError("shapes differ"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_a_lack_of_memory_is_known_by_type_or_words(error: Exception, expected: bool) -> None:
    assert out_of_memory(error) is expected


def test_the_error_says_what_torch_said_first() -> None:
    error = DoesNotFit("item")
    error.__cause__ = DoesNotFit("part")
    error.__cause__.__cause__ = MemoryError()
    assert str(too_large("query 'q'", error)) == (
        "memory is 'MemoryError'; expected memory for the rows of one query at one layer. At query 'q'. "
        "Give --dtype bfloat16, or a device with more memory."
    )


def test_what_shrinks_is_noted_by_kind_and_for_its_block_only() -> None:
    def one_at_a_time(items: list[int]) -> int:
        if len(items) > 1:
            raise MemoryError
        return items[0]

    with noting_what_shrinks() as outer:
        list(in_halves("a", [1, 2, 3], one_at_a_time))
        with noting_what_shrinks() as inner:
            list(in_halves("b", [1, 2], one_at_a_time))
    list(in_halves("c", [1, 2], one_at_a_time))
    assert (outer, inner) == ({"a": 2}, {"b": 1})
    assert list(in_halves("d", [4], one_at_a_time)) == [([4], 4)]


LIMITED = """
import json, resource, sys, torch
from transformers import GPT2Config, GPT2LMHeadModel
from qloc.extract.models.architectures import sites
from qloc.extract.attribution.integrated_gradients import ScaledPath, integrals
from qloc.extract.attribution.engine import GradientEngine
from qloc.extract.attribution.engine_proof import proved
from qloc.extract.attribution.quadrature import quadrature
from qloc.extract.models.out_of_memory import noting_what_shrinks
from qloc.extract.prompts.tokenizing import Target

torch.set_num_threads(1)
torch.manual_seed(0)
model = GPT2LMHeadModel(GPT2Config(n_embd=256, n_layer=6, n_head=4, n_positions=16, vocab_size=500)).eval()
model.requires_grad_(False)
targets = [Target(ids=tuple(range(n, n + 8)), position=7, token=n) for n in range(8)]
engine = proved(GradientEngine(model=model, sites=sites(model), family="causal", memory=10**10), targets)
path = ScaledPath.of(quadrature("midpoint", 20))

def run():
    found = {}
    for indices, part in integrals(engine, targets, path):
        found |= {index: part.mean_gradient[n] for n, index in enumerate(indices)}
    return torch.stack([found[n] for n in range(len(targets))])

few = targets[:1]
list(integrals(engine, few, path))  # threads, caches and the like are there
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 60 * 2**20, resource.RLIM_INFINITY))
with noting_what_shrinks() as shrunk:
    tight = run()
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
with noting_what_shrinks() as none:
    wide = run()
print(json.dumps([shrunk, none, float((tight - wide).abs().max() / wide.abs().max())]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_where_the_cpu_really_has_no_more_memory_it_goes_on() -> None:
    done = forked.run([sys.executable, "-c", LIMITED], torch=True, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    shrunk, none, difference = json.loads(done.stdout)
    assert sum(shrunk.values()) >= 1
    assert none == {}
    assert difference < 1e-4  # float32; sums over other shapes round otherwise
