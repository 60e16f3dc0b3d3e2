"""Work on many objects, a few at a time: where each is waited for, as at a URL."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def each(work: Callable[[T], R], items: Iterable[T], at_once: int) -> Iterator[R]:
    """What ``work`` returns for each item, in order; where it raises, no other item is begun.

    Parameters
    ----------
    at_once : how many are worked on at the same time; 1: in the caller's thread.

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
