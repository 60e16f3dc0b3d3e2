"""How many threads torch computes with: told by the plan, since sums over other pieces round otherwise.

Products and sums are cut into a piece a thread, so that the last bits of a float depend on how many there
are. Whatever else this process or its machine does, a unit is computed with those of the plan.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Compute with ``n`` threads for the length of a ``with`` block.

    Examples
    --------
    >>> with threads(3):
    ...     torch.get_num_threads()
    3
    """
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def quiet() -> Iterator[None]:
    """Only errors of transformers' logger, and no progress bars, for the length of a ``with`` block."""
    from transformers.utils import logging as theirs

    level, bars = theirs.get_verbosity(), theirs.is_progress_bar_enabled()
    theirs.set_verbosity_error()
    theirs.disable_progress_bar()
    try:
        yield
    finally:
        theirs.set_verbosity(level)
        if bars:
            theirs.enable_progress_bar()
