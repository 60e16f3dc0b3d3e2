"""The band of undecided attributions: by formula, and against any truth that the bounds allow."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from qloc.accuracy.undecided_band import undecided_band


@given(st.floats(0, 0.9), st.floats(0, 0.1), st.floats(-1, 1))
def test_with_one_bound_the_band_is_symmetric(t, e, a):
    """Then undecided is |A − t·M| ≤ (1 + t)·e·M. A tolerance for the ends, which round differently: 1e-12."""
    low, high = undecided_band(t, np.array([[1.0, 0.5]]), np.array([[e, e]]))
    distance, reach = abs(a - t), (1 + t) * e
    if abs(distance - reach) > 1e-12:
        assert bool(low[0, 0] < a <= high[0, 0]) == (distance < reach)


@given(arrays(np.float64, (2, 3), elements=st.floats(-1, 1)), st.floats(0, 0.9), st.data())
def test_no_true_attributions_within_the_bounds_change_what_is_decided(computed, t, data):
    """Truth is drawn anywhere within A ± e_l·M; outside the band, membership is the computed one."""
    computed[0, 0] = 1.0  # M, in layer 0
    bounds = np.array([[data.draw(st.floats(0, 0.2)), data.draw(st.floats(0, 0.2))]])
    shift = data.draw(arrays(np.float64, (2, 3), elements=st.floats(-1, 1)))
    truth = computed + shift * bounds.T
    low, high = undecided_band(t, computed.max(axis=1)[None], bounds)
    margin = 1e-12  # the sums above round
    sure = computed > high.T + margin
    never = computed <= low.T - margin
    member = truth > t * truth.max()
    assert member[sure].all()
    assert not member[never].any()


def test_without_an_error_no_neuron_is_undecided():
    low, high = undecided_band(0.2, np.array([[1.0, 0.3]]), np.zeros((1, 2)))
    assert (low == high).all()
