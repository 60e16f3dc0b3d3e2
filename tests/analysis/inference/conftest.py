"""Data for regressions: clustered, with two regressors and a label."""

import numpy as np
import pandas as pd
import pytest


@pytest.fixture
def frame(rng: np.random.Generator) -> pd.DataFrame:
    """Return 200 rows in 15 clusters ``g``: outcome ``y``, regressors ``x`` and ``z``, label ``w``."""
    g = rng.integers(15, size=200)
    x = rng.normal(size=200) + rng.normal(size=15)[g]
    y = 0.3 * x + rng.normal(size=15)[g] + rng.normal(size=200)
    return pd.DataFrame({"y": y, "x": x, "z": rng.normal(size=200), "g": g, "w": rng.choice(["a", "b"], 200)})
