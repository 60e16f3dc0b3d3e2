"""Components by Bayes: those of REML where data decide, and priors that can be compared where they do not."""

import sys

import numpy as np
import pytest

from qloc.analysis.analyze import analyze
from qloc.analysis.inference.label_codes import codes
from qloc.analysis.localization.overlap import bayes_components
from qloc.analysis.localization.overlap.bayes_components import PRIORS, posteriors
from qloc.analysis.localization.overlap.variance_components import SOURCES, Queries, components
from qloc.errors import MissingDependencyError
from qloc.plan import AnalysisPlan
from qloc.simulation.simulate import simulate

TRUE = np.array([0.15, 0.25, 0.1, 0.15, 0.35])


def drawn(rng, n_neurons=60, n_facts=15, n_templates=3):
    """Queries of one relation with the shares TRUE."""
    template, fact = np.tile(np.arange(n_templates), n_facts), np.repeat(np.arange(n_facts), n_templates)
    groups = template, fact // 3, codes(template, fact // 3), fact
    values = rng.normal(size=(len(fact), n_neurons)) * np.sqrt(TRUE[-1])
    for variance, group in zip(TRUE, groups, strict=False):
        values += rng.normal(size=(group.max() + 1, n_neurons))[group] * np.sqrt(variance)
    return Queries(values @ values.T / n_neurons, groups, n_neurons)


@pytest.fixture
def quick(monkeypatch):
    """Fewer draws: chains need not be long to be compared with REML."""
    pytest.importorskip("numpyro")
    monkeypatch.setattr(bayes_components, "_WARMUP", 200)
    monkeypatch.setattr(bayes_components, "_DRAWS", 200)


@pytest.mark.usefixtures("quick")
def test_they_are_remls_where_relations_tell_enough():
    rng = np.random.default_rng(0)
    relations = [drawn(rng) for _ in range(12)]
    by_reml = components(relations)
    found, again = (posteriors(relations, priors=PRIORS[:1]) for _ in range(2))
    assert by_reml is not None
    assert found is not None
    assert again is not None
    np.testing.assert_allclose(found[0].shares, by_reml.shares, atol=0.03)
    assert ((found[0].low < found[0].shares) & (found[0].shares < found[0].high)).all()
    assert found[0].r_hat < 1.1
    np.testing.assert_array_equal(again[0].shares, found[0].shares)


@pytest.mark.usefixtures("quick")
def test_where_data_say_little_priors_differ():
    """Two small relations: a wider prior leaves more open."""
    rng = np.random.default_rng(2)
    found = posteriors([drawn(rng, n_neurons=20) for _ in range(2)], priors=PRIORS[1:])
    assert found is not None
    narrow, wide = found
    assert (wide.high - wide.low).sum() > (narrow.high - narrow.low).sum()
    assert len(wide.shares) == len(SOURCES)


def test_no_relation_tells_nothing():
    pytest.importorskip("numpyro")
    assert posteriors([]) is None


def test_without_numpyro_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "numpyro", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'qloc\[bayes\]'"):
        posteriors([])
    with pytest.raises(MissingDependencyError, match="bayes is True; expected the package numpyro"):
        analyze(simulate(facts=12, relations=2, templates=3, n_heads=0), AnalysisPlan(bayes=True))
