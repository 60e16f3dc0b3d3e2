"""Which neurons an error of integration leaves undecided at a threshold (docs/methods.md#neuron-sets)."""

from __future__ import annotations

import numpy as np

from qloc.arrays import Array, Floats


def undecided_band(t: float, maximum: Array, bounds: Array) -> tuple[Floats, Floats]:
    """Return the attributions that the error bounds leave on either side of a threshold.

    With M the query's largest computed attribution, m_l that of layer l, and e_l the layer's error bound,
    the true attribution of a neuron of layer l lies within A ± e_l · M. So the true maximum lies within

        M_low = max_l (m_l − e_l · M),   M_high = max_l (m_l + e_l · M).

    A neuron belongs to the true set for certain where A − e_l · M > t · M_high, and for certain does not
    where A + e_l · M ≤ t · M_low. It is undecided between the two:

        t · M_low − e_l · M < A ≤ t · M_high + e_l · M.

    Where all layers have one bound e, this is |A − t · M| ≤ (1 + t) · e · M. Without an error the band is
    empty.

    Parameters
    ----------
    t : float
        The threshold, in [0, 1).
    maximum : float ndarray, shape (query, layer)
        Largest attribution of each layer.
    bounds : float ndarray, shape (query, layer)
        Error bounds, relative to the query's largest attribution.

    Returns
    -------
    low, high : float64 ndarray, shape (query, layer)
        Ends of the band, the lower one excluded; NaN where a query lacks a bound.

    Examples
    --------
    >>> low, high = undecided_band(0.2, np.array([[10.0, 5.0]]), np.array([[0.01, 0.03]]))
    >>> low.round(3).tolist(), high.round(3).tolist()
    ([[1.88, 1.68]], [[2.12, 2.32]])
    """
    of_layer = np.asarray(maximum, dtype=np.float64)
    off = np.asarray(bounds, dtype=np.float64) * of_layer.max(axis=1, keepdims=True, initial=-np.inf)
    least, most = ((of_layer + sign * off).max(axis=1, keepdims=True, initial=-np.inf) for sign in (-1, 1))
    return t * least - off, t * most + off
