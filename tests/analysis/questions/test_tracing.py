"""Where restoring helps: a planted site found, and noise that finds nothing."""

from __future__ import annotations

import numpy as np
import pytest

from qloc.analysis.inputs.study import Study
from qloc.analysis.questions.context import AnalysisContext
from qloc.analysis.questions.tracing import tracing_question
from qloc.analysis.tracing.restoring_effects import RestoringEffects
from qloc.plan import AnalysisPlan
from qloc.simulation.interventions import Effects
from qloc.simulation.simulate import simulate
from qloc.simulation.tracing import BROUGHT_BACK, SITE

PLAN = AnalysisPlan(n_permutations=99, n_bootstrap=99)


def test_a_planted_site_is_found(traced_study: Study) -> None:
    question = tracing_question(AnalysisContext(study=traced_study, plan=PLAN))
    site, layers = question.tests
    assert (site.name, site.verdict, layers.name) == ("H12a", "holds", "H12b")
    n_layers = traced_study.signals.sizes["layer"]
    assert site.estimate == pytest.approx(BROUGHT_BACK[SITE] / 2, abs=0.4)
    tables = {table.name: table for table in question.tables}
    assert {"tracing_totals", "tracing_residual", "tracing_mlp", "tracing_attention"} <= set(tables)
    kind = traced_study.column("queries", "kind")
    known = traced_study.column("queries", "known") == 1
    assert tables["tracing_totals"].columns["queries"][0] == np.sum(known & (kind == "fact"))
    mlp = tables["tracing_mlp"].to_frame()
    best = mlp.iloc[int(np.argmax(mlp.indirect.to_numpy(dtype=float)))]
    assert (best.token, best.layer) == ("the subject's last", n_layers - 1)
    assert f"at the subject's last token in layer {n_layers - 1}" in question.answer
    kinds = {(row.kind, row.part, row.token): row for row in tables["tracing_kinds"].to_frame().itertuples()}
    row = kinds["facts", "mlp", "the subject's last"]
    assert (row.layer, row.indirect) == (best.layer, best.indirect)
    pairs = np.sum(kind[known & RestoringEffects.of(traced_study.tracing).used] == "minimal_pair")
    assert kinds["syntax", "residual", "the last"].facts == pairs > 0  # single pairs: a fact each


def test_without_a_site_none_is_found() -> None:
    nothing = simulate(
        facts=40, relations=8, templates=3, effects=Effects(size=0), phases=("tracing",), seed=1
    )
    question = tracing_question(AnalysisContext(study=nothing, plan=PLAN))
    assert question.tests[0].verdict in ("undecided", "no relevant difference")
