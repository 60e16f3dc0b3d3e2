"""diff: how the numbers of two extractions of one plan differ, against what was changed."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic import FINGERPRINT, Synthetic, write_store
from synthetic_phase import block, fingerprint, outline

from qloc.errors import FloorError, InputError
from qloc.neurons import threshold_rows
from qloc.store.exchange import diff as differing
from qloc.store.exchange.diff import Difference, compare_extractions, diff_text
from qloc.store.exchange.pack import pack
from qloc.store.reading.open_store import open_store
from qloc.store.writing.phase_writer import PhaseWriter
from qloc.store.writing.writer import Writer
from qloc.workflows.analyze import open_study
from qloc.workflows.exchange import diff, jaccard

HELD: dict[str, Any] = {**FINGERPRINT}
OTHER = {**HELD, "model": {**HELD["model"], "dtype": "bfloat16"}}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Noisy(Synthetic):
    """The same study with relative noise on every attribution, and some other answers."""

    noise: float = 1e-3

    def block(self, unit):
        block = super().block(unit)
        rng = np.random.default_rng([99, unit.number])
        factor = 1 + self.noise * rng.uniform(-1, 1, block.attribution.shape)
        rank = block.queries["rank"].copy()
        rank[:1] += 2
        queries = {**block.queries, "rank": rank}
        return dataclasses.replace(block, attribution=block.attribution * factor, queries=queries)


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    path = tmp_path_factory.mktemp("noisy") / "n.zarr"
    study = Noisy()
    with Writer.open(path, study.outline(), OTHER) as writer:
        for unit in writer.missing():
            writer.write(study.block(unit))
        writer.finalize()
    return path


def dense(study):
    return np.concatenate([b.attribution for b in study.blocks()], axis=1).astype(np.float32)


def test_a_store_and_itself_packed_do_not_differ(finished, tmp_path):
    found = diff(finished, pack(finished, tmp_path / "s.zarr.zip"))
    assert all(one["unequal"] == 0 and not one["absolute"] for one in found["arrays"].values())
    assert found["fingerprint"] == []
    assert found["sets"] == {m: {"mean": 1.0, "min": 1.0, "exact": 1.0} for m in ("ig", "grad_x_act")}
    assert json.loads(json.dumps(found)) == found
    assert diff_text(found) == (
        f"{finished} and {tmp_path}/s.zarr.zip: 10 facts, 16 queries\n"
        "  fingerprint: the same\n"
        "  45 of 45 arrays are equal\n"
        "  neuron sets at threshold 0.2, Jaccard of a query's two sets:\n"
        "    ig: mean 1.0000, smallest 1.0000, 100% of the queries have equal sets\n"
        "    grad_x_act: mean 1.0000, smallest 1.0000, 100% of the queries have equal sets"
    )


def test_what_differs_by_a_little_is_not_written_as_equal():
    sets = {"mean": 0.999_99, "min": 0.999_96, "exact": 0.9998}
    array = {"unequal": 1e-6, "absolute": 0.5, "relative": None}
    text = diff_text({
        "stores": ["a", "b"], "facts": 9, "queries": 9, "fingerprint": [], "arrays": {"signals/total": array},
        "threshold": 0.2, "sets": {"ig": sets},
    })  # fmt: skip
    assert "  signals/total                       <0.001%               0.5\n" in text
    assert "ig: mean 0.9999, smallest 0.9999, more than 99.9% of the queries have equal sets" in text


def test_differences_are_those_of_the_dense_values(finished, noisy, study):
    found = compare_extractions(open_store(finished), open_store(noisy))
    a, b = dense(study).astype(np.float64), dense(Noisy()).astype(np.float64)
    fact = np.repeat(np.arange(10), study.n_queries)
    panels = [open_store(path).signals["panel_neuron"].to_numpy() for path in (finished, noisy)]
    common = [sorted({*p.tolist()} & {*q.tolist()} - {-1}) for p, q in zip(*panels, strict=True)]
    pairs = [
        (a[m, q].reshape(-1)[n], b[m, q].reshape(-1)[n])
        for m in range(2) for q in range(16) for n in common[fact[q]]
    ]  # fmt: skip
    got = found["signals/attribution"]
    assert got.n == len(pairs)
    assert got.n_unequal == sum(x != y for x, y in pairs)
    assert got.absolute == max(abs(x - y) for x, y in pairs)
    assert got.relative == max(abs(x - y) / max(abs(x), abs(y)) for x, y in pairs)
    ranks = found["queries/rank"]
    assert (ranks.n, ranks.n_unequal, ranks.absolute) == (16, 4, 2.0)
    whole = [({*p.tolist()} - {-1}, {*q.tolist()} - {-1}) for p, q in zip(*panels, strict=True)]
    assert found["signals/panel_neuron"] == Difference(
        n=sum(len(p | q) for p, q in whole), n_unequal=sum(len(p ^ q) for p, q in whole)
    )
    assert found["queries/prompt"] == Difference(n=16)
    assert found["grams/null_gram"].unequal == 0


def test_sets_are_compared_query_by_query(finished, noisy, study):
    found = diff(finished, noisy, threshold=0.1)
    for m, method in enumerate(("ig", "grad_x_act")):
        index = []
        for x, y in zip(dense(study)[m], dense(Noisy())[m], strict=True):
            a, b = (
                {*np.flatnonzero(threshold_rows(v.reshape(1, -1), np.arange(120)[None], v.max()[None], 0.1))}
                for v in (x, y)
            )
            index.append(len(a & b) / len(a | b) if a | b else 1.0)
        sets = [open_study(path).neurons(method, 0.1) for path in (finished, noisy)]
        np.testing.assert_array_equal(jaccard(*sets), index)
        expected = {"mean": np.mean(index), "min": min(index), "exact": np.mean(np.array(index) == 1)}
        assert found["sets"][method] == pytest.approx(expected, rel=1e-15)
    assert found["fingerprint"] == ["signals.model.dtype: None → 'bfloat16'"]
    assert "  fingerprint: signals.model.dtype: None → 'bfloat16'\n" in diff_text(found)
    assert f"  {'queries/rank':<34}{'25.000%':>9}{'2':>18}" in diff_text(found)


def test_dense_stores(tmp_path, monkeypatch):
    a = write_store(tmp_path / "a.zarr", Synthetic(n_facts=3, unit_facts=1), tier="dense")
    b = write_store(tmp_path / "b.zarr", Noisy(n_facts=3, unit_facts=1), tier="dense")
    found = compare_extractions(open_store(a), open_store(b))
    expected = np.abs(
        dense(Synthetic(n_facts=3, unit_facts=1)).astype(np.float64)
        - dense(Noisy(n_facts=3, unit_facts=1)).astype(np.float64)
    )
    assert found["signals/attribution"].absolute == expected.max()
    assert found["signals/attribution"].n == expected.size
    monkeypatch.setattr(differing, "_READ_AT_ONCE", 0)  # unit by unit
    assert compare_extractions(open_store(a), open_store(b)) == found


def test_no_queries_at_all(tmp_path):
    a, b = (write_store(tmp_path / name, Synthetic(n_facts=0)) for name in ("a", "b"))
    assert "    ig: no queries\n" in diff_text(diff(a, b))


def test_values_that_are_not_numbers():
    found = Difference()
    found.add(np.array([np.nan, np.inf, 1.0, -0.0]), np.array([1.0, np.inf, np.inf, 0.0]))
    assert (found.n, found.n_unequal, found.absolute, found.relative) == (4, 2, 0.0, 0.0)


def test_stores_of_two_plans_are_refused_with_every_difference(finished, tmp_path, study):
    other = write_store(tmp_path / "o.zarr", Synthetic(n_facts=9, n_layers=2, methods=("ig",)), tier="dense")
    with pytest.raises(InputError) as caught:
        diff(finished, other)
    tail = f"expected the same in both. At {finished} and {other}. Compare two extractions of one plan."
    assert caught.value.problems == (
        f"stores is \"methods: ['ig', 'grad_x_act'] → ['ig']\"; {tail}",
        f"stores is 'sizes.fact: 10 → 9'; {tail}",
        f"stores is 'sizes.layer: 3 → 2'; {tail}",
        f"stores is 'sizes.query: 16 → 15'; {tail}",
        f"stores is \"tier: 'panel' → 'dense'\"; {tail}",
    )
    with Writer.open(tmp_path / "half.zarr", study.outline(), FINGERPRINT):
        pass
    with pytest.raises(InputError) as caught:
        diff(finished, tmp_path / "half.zarr")
    assert caught.value.problems[0] == (
        f"store is 'unfinished'; expected a complete store. At {tmp_path}/half.zarr. Complete it first."
    )


def test_other_prompts_are_refused(finished, tmp_path):
    class Reworded(Synthetic):
        def _queries(self, unit, rng):
            made = super()._queries(unit, rng)
            return {**made, "prompt": np.array([f"So: {p}" for p in made["prompt"]], dtype=object)}

    other = write_store(tmp_path / "o.zarr", Reworded())
    with pytest.raises(InputError) as caught:
        diff(finished, other)
    assert str(caught.value) == (
        "queries/prompt is 'Query 0 of fact 0 — “is” [Y]. → So: Query 0 of fact 0 — “is” [Y]. at 0, and 15 "
        f"more'; expected the same in both. At {finished} and {other}. Compare two extractions of one plan."
    )


def test_threshold_below_the_floor_is_refused(finished):
    with pytest.raises(FloorError):
        diff(finished, finished, threshold=0.01)


@pytest.fixture
def own(phased, tmp_path):
    """Return a store with both phases of the test's own."""
    return Path(shutil.copytree(phased, tmp_path / "s.zarr"))


def test_diff_compares_phases_that_both_have(finished, phased, own, tmp_path):
    found = diff(phased, own)
    assert found["fingerprint"] == []
    assert {
        "interventions/rank",
        "synapses/n_columns",
        "edits/probe_kind",
        "statistics/activation_sum",
        "neurons/promoted_token_id",
    } < set(found["arrays"])
    assert not any(one["n_unequal"] for one in found["arrays"].values())
    found = diff(finished, phased)
    assert [line.split(":")[0] for line in found["fingerprint"]] == ["edits", "interventions"]
    assert not any(path.startswith(("edits/", "interventions/")) for path in found["arrays"])
    other = Path(shutil.copytree(finished, tmp_path / "o.zarr"))
    with PhaseWriter.open(other, outline("edits"), fingerprint("edits")) as writer:
        for unit in writer.missing():
            writer.write(block("edits", unit, seed=1))
        writer.finalize()
    assert diff(phased, other)["arrays"]["edits/probe_kl"]["unequal"] == 1.0
