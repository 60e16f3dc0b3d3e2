"""Where restoring helps: a planted site found, and noise that finds nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from qloc.analysis.inputs.study import Study
from qloc.analysis.questions.context import AnalysisContext
from qloc.analysis.questions.tracing import tracing_question
from qloc.phase_plan import TOKEN_ROLES, TRACING_PARTS, TracingPlan
from qloc.plan import AnalysisPlan
from qloc.simulation.simulate import simulate


def traced(study: Study, site: float, seed: int = 0) -> Study:
    """Put a group /tracing of noise into a study, with ``site`` added at the subject's last token's MLPs."""
    rng = np.random.default_rng(seed)
    corruptions, n = TracingPlan(samples=2).corruptions, study.queries.sizes["query"]
    n_layers = study.signals.sizes["layer"]
    shape = (len(TRACING_PARTS), len(TOKEN_ROLES), n_layers, len(corruptions), n)
    corrupted = rng.normal(-2, 0.5, (len(corruptions), n))
    odds = corrupted + rng.normal(0, 0.3, shape)
    odds[1, TOKEN_ROLES.index("last_subject")] += site * np.arange(n_layers)[:, None, None]
    odds[:, TOKEN_ROLES.index("middle_subject"), ..., ::2] = np.nan
    clean = rng.normal(2, 0.1, n)
    clean[3] = -9  # corrupting does not hurt it
    dims = ("tracing_part", "token_role", "layer", "corruption", "query")

    def p(values: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-values))

    group = xr.Dataset(
        {
            "log_odds": (dims, odds),
            "probability": (dims, p(odds)),
            "corrupted_log_odds": (dims[3:], corrupted),
            "corrupted_probability": (dims[3:], p(corrupted)),
            "clean_log_odds": ("query", clean),
            "clean_probability": ("query", p(clean)),
        },
        coords={
            "tracing_part": list(TRACING_PARTS),
            "token_role": list(TOKEN_ROLES),
            "corruption": list(corruptions),
            "fact": ("query", study.column("queries", "fact")),
        },
    )
    return replace(study, datasets={**study.datasets, "tracing": group})


@pytest.fixture(scope="module")
def planted() -> Study:
    return simulate(facts=40, relations=8, templates=3, seed=1)


def _plan() -> AnalysisPlan:
    return AnalysisPlan(n_permutations=99, n_bootstrap=99)


def test_a_planted_site_is_found(planted: Study) -> None:
    question = tracing_question(AnalysisContext(study=traced(planted, 1.0), plan=_plan()))
    site = question.tests[0]
    assert (site.name, site.verdict) == ("tracing, token", "holds")
    n_layers = planted.signals.sizes["layer"]
    assert site.estimate == pytest.approx((n_layers - 1) / 2, abs=0.1)
    tables = {table.name: table for table in question.tables}
    assert {"tracing_totals", "tracing_residual", "tracing_mlp", "tracing_attention"} <= set(tables)
    assert tables["tracing_totals"].columns["unhurt"][0] == 1
    mlp = tables["tracing_mlp"].to_frame()
    best = mlp.iloc[int(np.argmax(mlp.indirect.to_numpy(dtype=float)))]
    assert (best.token, best.layer) == ("the subject's last", n_layers - 1)
    assert f"at the subject's last token in layer {n_layers - 1}" in question.answer


def test_noise_finds_no_site(planted: Study) -> None:
    question = tracing_question(AnalysisContext(study=traced(planted, 0.0), plan=_plan()))
    assert question.tests[0].verdict in ("undecided", "no relevant difference")
