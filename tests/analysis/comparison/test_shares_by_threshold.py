"""K_I of several models by method and threshold: those of each model's own sets of the common queries."""

import numpy as np
import pytest

from qloc.analysis.comparison.shares_by_threshold import shares_by_threshold
from qloc.analysis.comparison.studies import Studies
from qloc.plan import AnalysisPlan


def test_shares_are_recounted_from_the_scores_of_each_model(studies: Studies) -> None:
    plan = AnalysisPlan(consistency_threshold=0.3, thresholds=(0.01, 0.3))
    frame = shares_by_threshold(studies, plan).to_frame()
    assert frame["threshold"].tolist() == [0.2, 0.2, 0.3, 0.3]  # no store can answer for 0.01
    for threshold in (0.2, 0.3):
        scores = studies.consistency(threshold=threshold)["CS2"].sel(model=list(studies.models)).values
        rows = frame[frame["threshold"] == threshold]
        assert rows["model"].tolist() == list(studies.models)
        scored = [of_model[~np.isnan(of_model)] for of_model in scores]
        assert rows["facts"].tolist() == list(map(len, scored))
        assert rows["published"].tolist() == pytest.approx([(values < 0.3).mean() for values in scored])
        assert rows["ki"].between(0, 1).all()
