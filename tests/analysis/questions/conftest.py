"""The contexts that questions are asked in, shared by all of them: scores and sets are computed once."""

from collections.abc import Callable

import pandas as pd
import pytest

from qloc.analysis.inputs.study import Study
from qloc.analysis.questions.context import AnalysisContext
from qloc.analysis.results import Question
from qloc.plan import AnalysisPlan

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
def frame() -> Callable[[Question, str], pd.DataFrame]:
    """A table of a question by name, as a DataFrame."""

    def of(question: Question, name: str) -> pd.DataFrame:
        table = question.table(name)
        assert table is not None, name
        return table.to_frame()

    return of
