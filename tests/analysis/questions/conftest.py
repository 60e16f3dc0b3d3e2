"""The contexts that questions are asked in, shared by all of them: scores and sets are computed once."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from qloc.analysis.inputs.study import Study
from qloc.analysis.questions.context import AnalysisContext
from qloc.analysis.results import Question
from qloc.plan import AnalysisPlan
from qloc.simulation.simulate import simulate

PLAN = AnalysisPlan(n_permutations=99, n_bootstrap=99)


@pytest.fixture(scope="session")
def plan() -> AnalysisPlan:
    return PLAN


@pytest.fixture(scope="session")
def context(study: Study) -> AnalysisContext:
    return AnalysisContext(study, PLAN)


@pytest.fixture(scope="session")
def edited_context(edited_study: Study) -> AnalysisContext:
    return AnalysisContext(edited_study, PLAN)


@pytest.fixture(scope="session")
def grouped_context() -> AnalysisContext:
    """A study of 30 facts of six relations, and of two paradigms of minimal pairs, five groups each."""
    return AnalysisContext(
        _with_pairs(simulate(facts=40, relations=8, templates=4, seed=2), "R07", "R08"), PLAN
    )


@pytest.fixture(scope="session")
def pairs_context() -> AnalysisContext:
    """A study of minimal pairs alone: two paradigms of five groups."""
    return AnalysisContext(
        _with_pairs(simulate(facts=10, relations=2, templates=4, seed=2), "R01", "R02"), PLAN
    )


def _with_pairs(study: Study, *paradigms: str) -> Study:
    """The study with relations turned into paradigms, each fact a group of pairs, the bad form likelier in 1/4."""
    relation, log_p = study.column("queries", "relation"), study.column("queries", "log_probability")
    pair = np.isin(relation, paradigms)
    bad = np.where(np.arange(len(pair)) % 4 == 0, log_p + 1, log_p - 1)
    queries = study.queries.assign(
        kind=("query", np.where(pair, "minimal_pair", "fact")), bad_log_probability=("query", bad)
    )
    return replace(study, datasets={**study.datasets, "queries": queries})


@pytest.fixture(scope="session")
def frame() -> Callable[[Question, str], pd.DataFrame]:
    """A table of a question by name, as a DataFrame."""

    def of(question: Question, name: str) -> pd.DataFrame:
        table = question.table(name)
        assert table is not None, name
        return table.to_frame()

    return of
