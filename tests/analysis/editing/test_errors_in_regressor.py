"""An intercept whose regressor is measured with error, against a plain computation and what is planted."""

import numpy as np
import pytest

from qloc.analysis.editing.errors_in_regressor import net_of_regressor


def planted(seed: int, error: float, n: int = 4000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outcome 1 + 2·x of a regressor of mean 3 and variance 1, measured twice."""
    rng = np.random.default_rng(seed)
    x = 3 + rng.standard_normal(n)
    y = 1 + 2 * x + rng.standard_normal(n)
    first, second = (x + error * rng.standard_normal(n) for _ in range(2))
    return y, first, second


@pytest.mark.parametrize("error", [0.0, 1.0])
def test_error_does_not_leak_into_the_intercept(error: float) -> None:
    """Least squares on the mean of both would say 3 where half of their spread each is error."""
    y, first, second = planted(1, error)
    each = np.arange(len(y))
    net = net_of_regressor(y, first, second, (each, each))
    x = (first + second) / 2
    slope = np.cov(x, y)[0, 1] / np.cov(first, second)[0, 1]
    assert net.values.mean() == pytest.approx(y.mean() - slope * x.mean(), rel=1e-3)
    assert net.values.mean() == pytest.approx(1.0, abs=0.3)
    assert net.reliability == pytest.approx(1 / (1 + error**2), abs=0.05)
    assert net.is_known
    plain = np.polynomial.polynomial.polyfit(x, y, 1)[0]
    assert plain == pytest.approx(1 + 6 * (1 - 1 / (1 + error**2 / 2)), abs=0.3)


def test_its_errors_are_those_of_the_intercept() -> None:
    """The spread of intercepts over studies is what the values say of one."""
    made = [planted(seed, 1.0, 200) for seed in range(400)]
    each = np.arange(200)
    nets = [net_of_regressor(*study, (each, each)).values for study in made]
    spread = np.std([net.mean() for net in nets])
    assert np.median([net.std() / np.sqrt(200) for net in nets]) == pytest.approx(spread, rel=0.15)


def test_measurements_that_do_not_agree_tell_no_slope() -> None:
    y, first, _ = planted(2, 0.0, 60)
    other = np.random.default_rng(3).standard_normal(60)
    each = np.arange(60)
    assert not net_of_regressor(y, first, other, (each, each)).is_known
    opposite = net_of_regressor(y, first, -first, (each, each))
    assert not opposite.is_known
    assert np.isnan(opposite.values).all()


@pytest.mark.parametrize(("kind", "least"), [("normal", 0.15), ("gamma", 0.5), ("log-normal", 0.1)])
def test_an_outcome_that_bends_is_told(rng: np.random.Generator, kind: str, least: float) -> None:
    """A gain that saturates; a straight one is called bent once in twenty, however skewed damage and its error."""
    relation, answer = np.repeat(np.arange(12), 10), np.arange(120)
    bent: list[list[bool]] = []
    while len(bent) < 150:
        x = {
            "normal": rng.normal(size=120),
            "gamma": (rng.gamma(4, size=120) - 4) / 2,
            "log-normal": np.exp(rng.normal(size=120)) / 2.2,
        }[kind] + 0.3
        noise = 0.3 * rng.normal(size=12)[relation] + 0.4 * rng.normal(size=120)
        one, other = (x + 0.5 * rng.normal(size=120) for _ in range(2))
        found = [net_of_regressor(y + noise, one, other, (relation, answer)) for y in (np.tanh(1.5 * x), x)]
        if found[0].is_known:
            bent.append([net.p_straight <= 0.05 for net in found])
    saturating, straight = np.mean(bent, axis=0)
    assert saturating > least
    assert straight < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 150)
