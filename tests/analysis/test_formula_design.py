"""Designs of formulas: keywords as names, effects of groups, and what is not identified."""

import numpy as np
import pandas as pd
import pytest

from qloc.analysis.formula_design import design_of, words_of
from qloc.errors import InputError


@pytest.fixture
def frame(rng):
    n = 120
    return pd.DataFrame(
        {
            "y": rng.normal(size=n),
            "x": rng.normal(size=n),
            "class": rng.choice(["a", "b", "c"], n),
            "relation": np.repeat([f"r{k}" for k in range(12)], 10),
        }
    )


def test_a_keyword_may_name_a_column(frame):
    assert words_of("y ~ class + np.log(x)") == ["y", "class", "x"]
    design = design_of(frame, "y ~ class + x", "relation", None)
    assert design.names == ("Intercept", "class[T.b]", "class[T.c]", "x")
    assert np.array_equal(design.x[:, 1], frame["class"] == "b")


def test_effects_of_groups_take_what_differs_between_them(frame, rng):
    frame["between"] = frame["relation"].map({f"r{k}": value for k, value in enumerate(rng.normal(size=12))})
    design = design_of(frame, "y ~ x + between", "relation", "relation")
    assert "between" not in design.names
    assert any("between" in check for check in design.checks)
    slopes = np.linalg.lstsq(design.x, design.y, rcond=None)[0]
    centered = frame[["y", "x"]] - frame.groupby("relation")[["y", "x"]].transform("mean")
    expected = (centered.x * centered.y).sum() / (centered.x**2).sum()
    assert slopes[design.names.index("x")] == pytest.approx(expected)


def test_as_many_columns_as_clusters_are_refused(frame):
    with pytest.raises(InputError, match="fewer columns than clusters and facts"):
        design_of(frame, "y ~ x + " + " + ".join(f"I(x**{k})" for k in range(2, 13)), "relation", None)
