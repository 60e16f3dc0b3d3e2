"""merge: units of several stores make the store of one extraction."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from synthetic import FINGERPRINT, Synthetic, write_store

from qloc.errors import FingerprintError, InputError, LockedError, SchemaError, VerificationError
from qloc.store.exchange.merge import merge
from qloc.store.exchange.pack import pack
from qloc.store.integrity.verify import verify
from qloc.store.reading.open_store import open_store
from qloc.store.schema import manifest
from qloc.store.units import ledger
from qloc.store.writing.writer import Writer


def part(path, study, numbers, fingerprint=FINGERPRINT, **options):
    with Writer.open(path, study.outline(), fingerprint, **options) as writer:
        for number in numbers:
            writer.write(study.block(study.outline().units[number]), notes={"shrunk": number})
    return path


def test_disjoint_units_make_the_store_of_one_extraction(tmp_path, study, finished):
    a = part(tmp_path / "a.zarr", study, (3, 0))
    b = part(tmp_path / "b.zarr", study, (1, 2))
    made = merge([a, b], tmp_path / "out.zarr")
    assert (made.path, made.units, made.planned, made.complete) == (tmp_path / "out.zarr", 4, 4, True)
    got = manifest.read(made.path)
    assert got["objects"] == manifest.read(finished)["objects"]
    assert got["notes"] == {str(n): {"shrunk": n} for n in range(4)}
    assert got["run"] == {"merged stores": 2}
    assert verify(made.path) == []
    assert [len(open_store(path).missing) for path in (a, b)] == [2, 2]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zarr", "b.zarr", "out.zarr"]


def test_units_that_all_lack_can_be_extracted_then(tmp_path, study, finished):
    parts = [part(tmp_path / f"{n}.zarr", study, (n, 0)) for n in (1, 3)]
    made = merge(parts, tmp_path / "out.zarr")
    assert (made.units, made.complete) == (3, False)
    with Writer.open(made.path, study.outline(), FINGERPRINT) as writer:
        assert [unit.number for unit in writer.missing()] == [2]
        writer.write(study.blocks()[2])
        writer.finalize()
    assert manifest.read(made.path)["objects"] == manifest.read(finished)["objects"]


def test_units_that_do_not_verify_do_not_count(tmp_path, study):
    a, b = part(tmp_path / "a.zarr", study, (0, 1)), part(tmp_path / "b.zarr", study, (2,))
    (unit,) = (u for u in ledger.records(a) if u.number == 1)
    (a / "units" / unit.file).write_bytes(b"")
    assert merge([a, b], tmp_path / "out.zarr").units == 2


def test_other_fingerprints_are_refused_showing_the_difference(tmp_path, study):
    other = {**FINGERPRINT, "parameters": {"steps": 40, "methods": ["ig"]}}
    a = part(tmp_path / "a.zarr", study, (0,))
    b = part(tmp_path / "b.zarr", study, (1,), other)
    c = part(tmp_path / "c.zarr", study, (2,), floor=0.1)
    with pytest.raises(FingerprintError) as caught:
        merge([a, b, c], tmp_path / "out.zarr")
    one, two = caught.value.problems
    assert one.startswith("fingerprint is \"fingerprint.signals.digest: '")
    assert "; fingerprint.signals.made_from.parameters.steps: 20 → 40" in one
    assert two == (
        f"fingerprint is 'layout.floor: 0.05 → 0.1'; expected the same in every store. At {a} and {c}. "
        "Merge stores that one plan was extracted into."
    )
    assert not (tmp_path / "out.zarr").exists()


def test_model_and_facts_may_lie_elsewhere_on_each_machine(tmp_path, study, finished):
    @dataclass(frozen=True, kw_only=True)
    class Elsewhere(Synthetic):
        site: str = "mlp_post"

        def outline(self):
            made = super().outline()
            own = {"model": "/other/gpt2", "facts": "/other/facts.jsonl", "site": self.site}
            return replace(made, attrs={**made.attrs, **own})

    a, b = part(tmp_path / "a.zarr", study, (0, 1)), part(tmp_path / "b.zarr", Elsewhere(), (2, 3))
    made = merge([a, b], tmp_path / "out.zarr")
    assert manifest.read(made.path)["objects"] == manifest.read(finished)["objects"]  # as the first tells it
    c = part(tmp_path / "c.zarr", Elsewhere(site="mlp_pre"), (2, 3))
    with pytest.raises(FingerprintError, match="fingerprint is \"site: 'mlp_post' → 'mlp_pre'\""):
        merge([a, c], tmp_path / "more.zarr")


def test_other_facts_are_refused(tmp_path, study):
    class Renamed(Synthetic):
        def outline(self):
            made = super().outline()
            names = np.array([f"Town {n}" for n in range(10)])
            return type(made)(**{**vars(made), "facts": {**made.facts, "subject": names}})

    a, b = part(tmp_path / "a.zarr", study, (0,)), part(tmp_path / "b.zarr", Renamed(), (1,))
    with pytest.raises(FingerprintError) as caught:
        merge([a, b], tmp_path / "out.zarr")
    assert str(caught.value) == (
        f"fingerprint is 'the arrays of /facts differ'; expected the same in every store. At {a} and {b}. "
        "Merge stores that one plan was extracted into."
    )


def test_units_with_two_contents_are_refused(tmp_path, study):
    a, b = part(tmp_path / "a.zarr", study, (0, 1)), part(tmp_path / "b.zarr", Synthetic(seed=1), (1, 2))
    one, two = (next(u for u in ledger.records(path) if u.number == 1).sha256[:12] for path in (a, b))
    with pytest.raises(InputError) as caught:
        merge([a, b], tmp_path / "out.zarr")
    assert str(caught.value) == (
        f"unit 1 is 'different in both, sha256 {one} and {two}'; expected in one store, or the same in both. "
        f"At {a} and {b}. Remove its record from one ledger."
    )


def test_complete_packed_and_single_stores_are_refused(finished, tmp_path, study):
    packed = pack(finished, tmp_path / "s.zarr.zip")
    with pytest.raises(InputError) as caught:
        merge([finished, packed], tmp_path / "out.zarr")
    assert caught.value.problems == (
        f"store is 'complete'; expected an unfinished store, with units that others lack. At {finished}. "
        "Use it as it is: it lacks nothing.",
        f"store is 'packed'; expected an unfinished store's folder. At {packed}. Leave it out.",
    )
    with pytest.raises(InputError) as caught:
        merge([part(tmp_path / "a.zarr", study, ())], tmp_path / "out.zarr")
    assert str(caught.value) == (
        "number of stores is 1; expected two or more. At qloc store merge. Give more stores."
    )
    with pytest.raises(SchemaError):
        merge([tmp_path, finished], tmp_path / "out.zarr")
    with pytest.raises(InputError, match=r"^path is 'there already'"):
        merge([], tmp_path / "a.zarr")


def test_store_that_is_being_written_is_refused(tmp_path, study):
    a, b = part(tmp_path / "a.zarr", study, (0,)), part(tmp_path / "b.zarr", study, (1,))
    with Writer.open(b, study.outline(), FINGERPRINT), pytest.raises(LockedError):
        merge([a, b], tmp_path / "out.zarr")
    merge([a, b], tmp_path / "out.zarr")  # and the locks are given back
    with Writer.open(a, study.outline(), FINGERPRINT) as writer:
        assert len(writer.missing()) == 3


def test_unit_that_changes_while_it_is_copied(tmp_path, study, monkeypatch):
    a, b = part(tmp_path / "a.zarr", study, (0,)), part(tmp_path / "b.zarr", study, (1,))

    monkeypatch.setattr("qloc.store.units.ledger.verifies", lambda store, unit: store in (a, b))
    with pytest.raises(
        VerificationError, match=r"^unit file is 'unit-000000-[0-9a-f]{16}\.npz'; expected sha"
    ):
        merge([a, b], tmp_path / "out.zarr")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zarr", "b.zarr"]


def test_dense_stores_without_attention(tmp_path):
    study = Synthetic(n_heads=0, n_facts=6)
    parts = [part(tmp_path / f"{n}.zarr", study, (n,), tier="dense") for n in range(2)]
    made = merge(parts, tmp_path / "out.zarr")
    whole = write_store(tmp_path / "whole.zarr", study, tier="dense")
    assert manifest.read(made.path)["objects"] == manifest.read(whole)["objects"]
