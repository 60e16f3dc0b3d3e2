"""Work on several objects at a time, where most of the time is spent waiting, as for objects at a URL."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def each(work: Callable[[T], R], items: Iterable[T], at_once: int) -> Iterator[R]:
    """Yield what ``work`` returns for each item, in order; once it raises, no further item is begun.

    Parameters
    ----------
    work : callable
        Called with one item, in a thread.
    items : iterable
        The items.
    at_once : int
        How many items are worked on at the same time; with 1, all work is done in the caller's thread.

    Yields
    ------
    object
        What ``work`` returned for the next item.

    Examples
    --------
    >>> list(each(str, [1, 2], at_once=2))
    ['1', '2']
    """
    if at_once == 1:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(at_once) as threads:
        try:
            yield from threads.map(work, items)
        except BaseException:
            threads.shutdown(cancel_futures=True)
            raise
