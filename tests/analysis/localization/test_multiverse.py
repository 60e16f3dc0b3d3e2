"""The multiverse: each cell is what the headline says under that choice; large studies are sampled."""

from dataclasses import replace

import numpy as np
import pytest

from qloc.analysis.inference.draws import Draws
from qloc.analysis.inference.label_codes import codes
from qloc.analysis.localization.consistency import consistency
from qloc.analysis.localization.multiverse import HEADLINE_MEASURES, Multiverse, cell_of, sample_of
from qloc.analysis.localization.overlap.margins import PREDICTION_ERROR
from qloc.analysis.localization.overlap.overlap_tests import beyond_template
from qloc.analysis.localization.specification_curve import curve_test
from qloc.random_streams import Stream


def test_a_multiverse_is_its_cells(study):
    sets = [study.neurons(method, t) for method in study.methods for t in (0.2, 0.4)]
    universes = [(s.method, t, s) for s, t in zip(sets, (0.2, 0.4, 0.2, 0.4), strict=True)]
    frame = Multiverse.of(universes, cut=0.3).table()
    assert len(frame) == 4 * 2 * 4
    row = frame[(frame.threshold == 0.4) & (frame.queries == "all") & (frame.method == "ig")].set_index(
        "measure"
    )
    scores = consistency(study.neurons("ig", 0.4), known=False)
    assert row.value["kappa"] == pytest.approx(np.nanmean(scores.kappa))
    h1a = beyond_template(study, threshold=0.4, known=False, draws=Draws(n_permutations=99))
    assert row.value["beyond_template"] == pytest.approx(h1a.estimate)
    assert h1a.interval is not None
    ends = (row.low["beyond_template"], row.high["beyond_template"])
    assert ends == pytest.approx((h1a.interval.low, h1a.interval.high))


def test_large_studies_are_sampled_by_relation(planted, monkeypatch):
    monkeypatch.setattr("qloc.analysis.localization.multiverse.MOST_MULTIVERSE_FACTS", 20)
    part = sample_of(planted, 0)
    kept = np.unique(part.queries["fact"])
    assert len(kept) == 20
    assert np.unique(planted.facts["relation"][kept], return_counts=True)[1].tolist() == [5, 5, 5, 5]
    whole, sampled = (cell_of(s, known=True, k0=3, cut=0.1) for s in (planted, part))
    both = ~np.isnan(whole[kept, 1])
    assert sampled[kept, 1][both] == pytest.approx(whole[kept, 1][both])


def test_where_nothing_is_defined_rows_say_so(make_sets):
    """One fact of two queries: no relation to cluster by, no three queries, nothing to compare with."""
    sets = make_sets([(0, "s", "a", [1, 2]), (0, "t", "a", [1, 3])])
    found = Multiverse.of([("ig", 0.2, sets)])
    frame = found.table()
    assert frame.measure.tolist() == 2 * list(HEADLINE_MEASURES)
    assert frame.queries.tolist() == 4 * ["known"] + 4 * ["all"]
    assert frame.facts.tolist() == [0] * 8
    assert np.isnan(frame[["value", "low", "high"]].to_numpy(dtype=float)).all()
    assert found.joint_test("template").choices == 0
    assert np.isnan(found.joint_test("answer").p)


def test_all_choices_together_have_the_p_of_their_values(planted):
    """Of half of the neurons each: choices that share their data, with one p."""
    rng = np.random.default_rng(5)
    member = planted.member.tocsc()
    halves = [rng.permutation(member.shape[1])[: member.shape[1] // 2] for _ in range(3)]
    universes = [
        (f"half {n}", 0.2, replace(planted, member=member[:, half].tocsr())) for n, half in enumerate(halves)
    ]
    found, draws = Multiverse.of(universes), Draws(n_permutations=199, seed=3)
    expected = curve_test(
        found.values[:, :, 2],
        codes(*found.clusters),
        least=PREDICTION_ERROR["template"],
        n_permutations=199,
        rng=Stream.SPECIFICATION_CURVE.generator(3, 0),
    )
    assert found.joint_test("template", draws) == expected
    assert found.joint_test("template", draws) != found.joint_test("answer", draws)
    table = found.table()
    of_template = table[table.measure == "beyond_template"].value
    assert expected.choices == len(of_template) == 6
    assert expected.median == pytest.approx(of_template.median())
