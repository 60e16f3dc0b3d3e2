"""The card: what is in a store, for whoever finds it; a function of the store's bytes alone."""

import re
from typing import Any

import numpy as np
import pytest
import xarray as xr
import yaml
from synthetic import FINGERPRINT, Synthetic, write_store
from synthetic_phase import append, fingerprint

from qloc.canonical_json import digest
from qloc.store.integrity.verify import verify
from qloc.store.names import CARD
from qloc.store.schema import manifest
from qloc.store.schema.phase_variables import OF_ALL_UNITS, PHASES
from qloc.store.schema.variables import ATTENTION, GRAMS, QUERIES, SIGNALS
from qloc.store.writing import card
from qloc.store.writing.writer import Writer


def test_whole_card(finished):
    sizes = {
        group: sum(p.stat().st_size for p in (finished / group).rglob("*") if p.is_file())
        for group in ("facts", "queries", "signals", "attention", "grams", "statistics", "neurons")
    }
    known = int((xr.open_zarr(finished, group="queries", consolidated=False)["known"] == 1).sum())
    assert (
        (finished / CARD).read_text(encoding="utf-8")
        == f"""\
---
pretty_name: "Neuron attributions of id synthetic"
license: other
tags: [knowledge-neurons, interpretability, attribution, zarr]
---

# Neuron attributions of id synthetic

Neuron attributions of a language model over facts, as one Zarr v3 hierarchy: extracted once with
qloc, to be analyzed without the model. Complete: `manifest.json` has the sha256 of every other file.

## What is in it

- 10 facts of 2 relations; 16 queries, {known} known.
- 3 layers of 40 neurons; attribution by ig, grad_x_act.
- Tier panel: the neurons of each fact from 0.05 of a query's maximum on, at most 4,096 a fact. Thresholds from `panel_floor` up are exact.

| group | what | arrays | bytes |
|---|---|---|---|
| facts | what was asked about | 11 | {sizes["facts"]:,} |
| queries | the prompts, and how the model answered | 18 | {sizes["queries"]:,} |
| signals | attribution, activation and gradient of neurons | 16 | {sizes["signals"]:,} |
| attention | what the target position attends to | 4 | {sizes["attention"]:,} |
| grams | inner products of full score vectors | 3 | {sizes["grams"]:,} |
| statistics | sums of activations over each relation's queries | 4 | {sizes["statistics"]:,} |
| neurons | the tokens that neurons promote and suppress | 3 | {sizes["neurons"]:,} |

## How it was made

- excluded: words after \\[Y\\] 2
- model: id synthetic
- site: mlp_post
- fingerprint of signals: `{digest(FINGERPRINT)}`

## Open it

With xarray and zarr alone:

```python
import xarray as xr

signals = xr.open_zarr("STORE", group="signals", consolidated=False)
queries = xr.open_zarr("STORE", group="queries", consolidated=False)
```

A slot holds a neuron of the fact's panel, numbered layer · n_neurons + index: `signals["panel_neuron"].isel(fact=signals["fact"])`, with `n_neurons` in `signals.attrs`.

With qloc: `qloc.open("STORE")`, `qloc store verify STORE`, `qloc analyze STORE`.

## Licence

The store itself adds no licence. What is in it derives from the model and the facts
named above: their licences hold.

## Citation

- qloc: where does a language model keep a fact? (`qloc cite STORE` lists all references.)
- ig: Sundararajan et al. 2017 (arXiv:1703.01365); Dai et al. 2022 (arXiv:2104.08696)
- grad_x_act: Shrikumar et al. 2016 (arXiv:1605.01713)
- The model and the facts, as their authors ask.
"""
    )


def test_card_is_covered_by_the_manifest(copy):
    assert CARD in manifest.read(copy)["objects"]
    path = copy / CARD
    path.write_bytes(path.read_bytes().replace(b"10 facts", b"11 facts"))
    (problem,) = verify(copy)
    assert problem.startswith("the card is 'sha256 ")


def test_nothing_of_the_run_is_in_it(finished, tmp_path, study):
    with Writer.open(tmp_path / "else.zarr", study.outline(), FINGERPRINT) as writer:
        for unit in reversed(writer.missing()):
            writer.write(study.block(unit), notes={"shrunk": True})
        writer.finalize({"device": "cuda:0"})
    assert (tmp_path / "else.zarr" / CARD).read_bytes() == (finished / CARD).read_bytes()


def test_program_of_the_card_runs(finished):
    (program,) = re.findall(r"```python\n(.*?)```", (finished / CARD).read_text(encoding="utf-8"), re.S)
    names: dict[str, Any] = {}
    exec(program.replace("STORE", str(finished)), names)
    assert names["signals"].attrs["n_neurons"] == 40
    assert len(names["queries"]["prompt"]) == 16


def test_dense_tier_and_strange_names(tmp_path):
    class Strange(Synthetic):
        def outline(self):
            made = super().outline()
            name = 'evil"\n---\n# <script>alert(1)</script> | [x](y)'
            return type(made)(**{**vars(made), "attrs": {"model": name, "empty": ""}})

    store = write_store(tmp_path / "s.zarr", Strange(n_facts=3, methods=("ig",)), tier="dense")
    text = (store / CARD).read_text(encoding="utf-8")
    _, head, _ = text.split("---\n", 2)
    assert "evil" in yaml.safe_load(head)["pretty_name"]
    assert (
        '\n# Neuron attributions of evil" --- \\# \\<script\\>alert(1)\\</script\\> \\| \\[x\\](y)\n' in text
    )
    assert "- Tier dense: every neuron.\n" in text
    assert "A neuron has the coordinates `layer` and `neuron`." in text
    assert "- empty" not in text


def test_store_without_facts(tmp_path):
    text = (write_store(tmp_path / "s.zarr", Synthetic(n_facts=0)) / CARD).read_text(encoding="utf-8")
    assert "- 0 facts of 0 relations; 0 queries, 0 known.\n" in text
    assert np.isfinite(len(text))


@pytest.mark.parametrize("change", ["README.md", "zarr.json"])
def test_store_of_an_earlier_version_needs_no_card(copy, change):
    """The manifest says what there is: a store without a card verifies where its manifest lists none."""
    from qloc.canonical_json import canonical

    said = manifest.read(copy)
    del said["sha256"]
    said["objects"].pop(change)
    (copy / "manifest.json").write_bytes(canonical({**said, "sha256": digest(said)}))
    (copy / change).unlink()
    assert (verify(copy) == []) == (change == CARD)


def test_phases_are_in_the_card(phased):
    text = (phased / CARD).read_text(encoding="utf-8")
    assert "| synapses | answers with attention suppressed, enhanced | 14 | " in text
    assert f"- fingerprint of edits: `{digest(fingerprint('edits'))}`\n" in text
    assert "phases" not in text


def test_every_group_of_the_schema_has_a_line():
    phases = [variable.group for variables in PHASES.values() for variable in variables]
    groups = [
        "facts",
        *(v.group for v in (*QUERIES, *SIGNALS["panel"], *ATTENTION, *GRAMS)),
        *OF_ALL_UNITS,
        *phases,
    ]
    assert set(card._GROUPS) == set(groups)


@pytest.mark.parametrize("litter", ["signals/.DS_Store", "signals/attribution/c/0/0/0"])
def test_a_phase_that_is_appended_counts_the_objects_of_the_manifest(phased, copy, litter):
    """Not what a file browser left among them, nor what became of one since."""
    (copy / litter).write_bytes(b"not as it was written: " + bytes(999))
    for phase in ("interventions", "edits"):
        append(copy, phase)
    assert (copy / CARD).read_bytes() == (phased / CARD).read_bytes()


def test_what_lies_between_the_arrays_when_a_store_is_finalized_is_not_counted(
    finished, tmp_path, study, monkeypatch
):
    def littered(store, *arguments):
        (store / "signals" / ".DS_Store").write_bytes(bytes(999))
        return card.write_card(store, *arguments)

    monkeypatch.setattr("qloc.store.writing.finalize.write_card", littered)
    store = write_store(tmp_path / "s.zarr", study)
    assert (store / CARD).read_bytes() == (finished / CARD).read_bytes()
    assert verify(store) == []
