"""A lazy array that counts how often it is read."""

import dask.array as da
import numpy as np
import pytest
from dask.delayed import delayed

from qloc.arrays import Array


@pytest.fixture
def counted_reads() -> tuple[da.Array, list[int]]:
    """Return a lazy array of 0 and 1, and a list that grows by one whenever it is computed."""
    reads: list[int] = []

    def read() -> Array:
        reads.append(1)
        return np.arange(2.0)

    return da.from_delayed(delayed(read)(), (2,), float), reads
