"""What every test stands on: no hub, no screen, the same numbers each time.

Fixtures of one room live in tests/<room>/conftest.py.
"""

import gc
import os
import random
import sys

# Before anything imports transformers or matplotlib, here and in the processes that tests start.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MPLBACKEND"] = "Agg"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# A test process on each core: a second thread of BLAS or OpenMP would wait for a core that another process uses. Where
# a test asks for two, they sleep while they wait, as in qloc.cli.main; spinning makes torch several times slower.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
os.environ["GOMP_SPINCOUNT"] = "0"

import numpy as np
import pytest
from hypothesis import settings

settings.register_profile("qloc", deadline=None, derandomize=True)
settings.load_profile("qloc")
gc.disable()  # until all test modules are imported: what is imported stays


def pytest_collection_finish() -> None:
    """Keep what was imported until here out of the collector's way, and let it look less often (5% of the suite)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


@pytest.fixture(autouse=True)
def _seeds() -> None:
    """Start each test from the same global seeds; library code takes an explicit one."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture
def rng() -> np.random.Generator:
    """Return a generator with a fixed seed."""
    return np.random.default_rng(0)
