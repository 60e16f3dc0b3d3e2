"""Context managers for global settings: torch's number of threads, and transformers' log level.

torch cuts products and sums into one piece for each thread, so the last bits of a float depend on the number
of threads. A unit is therefore always computed with the number that its plan names, whatever else the process
or the machine does. transformers is kept quiet while it loads models, because its messages address readers of
its own code.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Compute with ``n`` threads for the length of a ``with`` block.

    Parameters
    ----------
    n : int
        Number of torch's threads inside an operation.

    Yields
    ------
    None
        While the setting holds.

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
    """Show only errors of transformers' logger, and no progress bars, for the length of a ``with`` block.

    Yields
    ------
    None
        While the setting holds.
    """
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
