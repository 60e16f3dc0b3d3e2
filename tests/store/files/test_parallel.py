"""Work on several items at a time: in order, no more than allowed, and none after an error."""

import threading
import time

import pytest

from qloc.store.files.parallel import each


@pytest.mark.parametrize("at_once", [1, 3])
def test_results_come_in_the_order_of_the_items(at_once):
    def work(n):
        time.sleep(0.002 * (n % 3 == 0))  # the first of three ends last
        return n * n

    assert list(each(work, range(12), at_once)) == [n * n for n in range(12)]
    assert list(each(work, [], at_once)) == []


def test_as_many_at_once_as_said():
    together = threading.Barrier(3)  # passes only where three wait for each other
    assert list(each(lambda n: together.wait(timeout=10) >= 0, range(6), at_once=3)) == [True] * 6


def test_one_at_once_works_in_the_callers_thread_and_only_when_asked():
    seen = []

    def work(n):
        seen.append((n, threading.get_ident()))

    results = each(work, range(3), at_once=1)
    assert seen == []
    next(results)
    assert seen == [(0, threading.get_ident())]


def test_nothing_is_begun_after_an_error():
    begun = []

    def work(n):
        begun.append(n)
        if n == 1:
            raise ValueError(n)
        time.sleep(0.05)
        return n

    results = each(work, range(200), at_once=2)
    with pytest.raises(ValueError, match="1"):
        list(results)
    assert len(begun) < 20
