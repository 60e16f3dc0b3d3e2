"""Phase edits on models that know facts: an edited fact is answered anew, the same by every process."""

from __future__ import annotations

import numpy as np
import pytest

from qloc.accuracy.readable_text import unreadable_text
from qloc.arms import EditArms
from qloc.block import Unit
from qloc.extract.edits.phase import prepare
from qloc.extract.signals.extraction import Extraction
from qloc.extract.signals.extraction import prepare as prepare_extraction
from qloc.phase_plan import EditPlan, RomePlan
from qloc.plan import Plan

PART = EditPlan(
    method="ig",
    operations=("update",),
    sets=("rome", "rome_identity"),
    n_probes=4,
    greedy_tokens=0,
    text_tokens=32,
    rome=RomePlan(layer=0.0, prefixes=2),
)


def _extraction(kind: str) -> Extraction:
    return prepare_extraction(
        Plan(model=f"embedded:{kind}", facts="embedded", max_facts=4, threads=1, device="cpu")
    )


def _arms(extraction: Extraction, facts: list[int]) -> EditArms:
    """These facts are edited, each at a query that the model was trained on; o′ is another fact's object."""
    known, asked = extraction.facts.facts, extraction.asking.asked
    first = np.concatenate([[0], np.cumsum([len(queries) for queries in asked])])
    told, new = np.full(len(known), -1), [""] * len(known)
    for fact in facts:
        seen = str(known[fact].attributes["seen"]).split()
        told[fact] = first[fact] + [one.query.template in seen for one in asked[fact]].index(True)
        of = {one.object for one in known if one.relation == known[fact].relation} - {known[fact].object}
        new[fact] = min(of)
    probes = np.full((len(known), PART.n_probes), -1)
    probes[:, 0] = np.roll(first[:-1], 5)
    width = max(map(len, asked))
    return EditArms(
        sets={},
        edited_query=told,
        other_fact=np.full(len(known), -1),
        held_out=np.array([[0] * len(a) + [-1] * (width - len(a)) for a in asked], dtype=np.int8),
        new_object=tuple(new),
        probe_query=probes,
        probe_kind=np.full(probes.shape, "", dtype=object),
    )


def _edited_arrays(extraction: Extraction, facts: list[int]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    arms, n = _arms(extraction, facts), len(extraction.facts)
    first = np.concatenate([[0], np.cumsum([len(queries) for queries in extraction.asking.asked])])
    unit = Unit(number=0, first_fact=0, last_fact=n, first_query=0, last_query=int(first[-1]))
    arrays = dict(prepare(extraction, PART).extract(unit, arms).arrays)
    return arrays, arms.edited_query[facts] - first[facts]


@pytest.mark.parametrize("kind", ["causal", "masked"])
def test_an_edited_fact_is_answered_anew(kind: str) -> None:
    """Of eight facts six at least, and far more often than before; other facts are mostly left alone."""
    extraction = _extraction(kind)
    facts = [n for n, fact in enumerate(extraction.facts.facts) if fact.attributes.get("seen")][:8]
    arrays, told = _edited_arrays(extraction, facts)
    new, base = arrays["edits/new_rank"][0][:, facts, told], arrays["edits/base_new_rank"][facts, told]
    assert (base == 1).sum() <= 1
    for edit in range(2):
        assert (new[edit] == 1).sum() >= 6
        assert np.nanmedian(arrays["edits/probe_kl"][0, edit][facts]) < 0.2
        assert (arrays["edits/n_slots"][edit][facts] == 512).all()
    assert np.abs(arrays["edits/text_nats"][0, 0][facts]).max() < 0.5
    base, attrs = arrays["edits/base_text_nats"], prepare(extraction, PART).outline.attrs
    assert np.nanmean(base) < 5 < np.log(attrs["n_vocabulary"]) < 10  # joined, lines took more than a guess
    assert unreadable_text(base, attrs) == ""
    left = np.setdiff1d(np.arange(len(extraction.facts)), facts)
    assert (arrays["edits/n_slots"][:, left] == 0).all()


def test_another_process_would_make_the_same_edits() -> None:
    """Nothing kept, another fact first: the same bits."""
    first, second = _extraction("causal"), _extraction("causal")
    facts = [n for n, fact in enumerate(first.facts.facts) if fact.attributes.get("seen")]
    both, one = _edited_arrays(first, facts[:2])[0], _edited_arrays(second, facts[1:2])[0]
    for name in ("new_log_probability", "text_nats", "probe_kl", "base_log_probability"):
        values, others = both[f"edits/{name}"], one[f"edits/{name}"]
        ours, theirs = (
            found[facts[1]] if "base" in name else found[0, :, facts[1]] for found in (values, others)
        )
        assert np.isfinite(ours).any()
        np.testing.assert_array_equal(ours, theirs, err_msg=name)
