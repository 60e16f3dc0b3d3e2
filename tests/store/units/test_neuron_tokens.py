"""Tokens of neurons: gathered from units, the first unit that has a neuron deciding."""

from dataclasses import replace

import numpy as np
import pytest
from synthetic import FINGERPRINT, VOCABULARY, Synthetic, write_older_store, write_store

from qloc.errors import InputError, SchemaError
from qloc.store.integrity.verify import verify
from qloc.store.reading.open_store import open_store
from qloc.store.units import ledger
from qloc.store.units.neuron_tokens import TOKENS
from qloc.store.writing.writer import Writer

STUDY = Synthetic(n_layers=2, n_neurons=12, n_heads=1, n_tokens=2)


def test_first_unit_with_a_neuron_decides(tmp_path):
    found = open_store(write_store(tmp_path / "s.zarr", STUDY)).neurons
    assert found is not None
    expected: dict[int, tuple[list[int], list[int]]] = {}
    texts = [""] * VOCABULARY
    for block in STUDY.blocks():
        tokens = block.tokens
        for row, neuron in enumerate(tokens["number"].tolist()):
            both = (tokens["promoted_token_id"][row].tolist(), tokens["suppressed_token_id"][row].tolist())
            expected.setdefault(neuron, both)
        for token, text in zip(tokens["token_id"].tolist(), tokens["token"], strict=True):
            texts[token] = texts[token] or text
    assert 5 < len(expected) < 24
    for neuron in range(24):
        here = found.isel(layer=neuron // 12, neuron=neuron % 12)
        got = tuple(here[name].values.tolist() for name in ("promoted_token_id", "suppressed_token_id"))
        assert got == expected.get(neuron, ([-1] * 10, [-1] * 10))
    assert found["token"].values.tolist() == texts


def test_older_store_is_finished_without(tmp_path):
    """Begun before tokens were kept: the same command goes on, and adds none."""
    path = write_older_store(tmp_path / "s.zarr", STUDY)
    assert open_store(path).neurons is None
    assert not (path / TOKENS).exists()
    assert verify(path) == []


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("number", lambda ids: ids[::-1]),
        ("number", lambda ids: ids + 24),
        ("promoted_token_id", lambda ids: ids + VOCABULARY),
        ("suppressed_token_id", lambda ids: ids[:, :9]),
        ("token", lambda texts: texts[1:]),
    ],
)
def test_odd_tokens_are_refused(tmp_path, name, change):
    """In a block, and in a unit file whose record fits it."""
    block = STUDY.block(STUDY.outline().units[0])
    odd = replace(block, tokens={**block.tokens, name: change(block.tokens[name])})
    store = tmp_path / "s.zarr"
    with Writer.open(store, STUDY.outline(), FINGERPRINT) as writer:
        with pytest.raises(
            InputError, match=r"^tokens is .* At the block of unit 0\. Make blocks as qloc\.bl"
        ):
            writer.write(odd)
        for unit in writer.missing():
            writer.write(STUDY.block(unit))
        record = writer._records[0]
        with np.load(store / "units" / record.file) as opened:
            arrays = dict(opened)
        arrays[f"{TOKENS}/{name}"] = odd.tokens[name]
        writer._records[0] = ledger.write_arrays(store, 0, arrays, {})
        with pytest.raises(
            SchemaError, match=rf"^arrays {TOKENS}/ is 'others'; expected tokens of the unit's"
        ):
            writer.finalize()
