"""A batch that does not fit into memory goes on in halves, and the unit says so.

How large a batch may be is a function of the plan, so that a unit's bits are too. Where a device has less
memory than that after all, smaller batches give the same numbers but for rounding: they go on, and what was
shrunk is noted with the unit, which is then promised to tolerance only.
"""

from __future__ import annotations

import gc
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, TypeVar

import torch

from qloc.errors import ModelError, message

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741

_WORDS: Final = ("can't allocate memory", "not enough memory", "out of memory", "could not create a memory")
"""What torch's CPU allocator, oneDNN and MPS say in a plain RuntimeError."""

_shrunk: ContextVar[Counter[str] | None] = ContextVar("shrunk", default=None)


class DoesNotFit(MemoryError):
    """What cannot be cut further does not fit: memory ran out, for whoever can still cut something else.

    Attributes
    ----------
    item : the one that does not, of those asked for.
    """

    def __init__(self, item: object) -> None:
        super().__init__(item)
        self.item = item


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out.

    Examples
    --------
    >>> out_of_memory(torch.OutOfMemoryError("CUDA out of memory.")), out_of_memory(RuntimeError("shapes"))
    (True, False)
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _WORDS)


@contextmanager
def noting_what_shrinks() -> Iterator[Mapping[str, int]]:
    """How often what was shrunk inside the ``with`` block, by kind of batch; empty where nothing was."""
    counts: Counter[str] = Counter()
    token = _shrunk.set(counts)
    try:
        yield counts
    finally:
        _shrunk.reset(token)


def in_halves(what: str, items: Sequence[I], run: Callable[[list[I]], T]) -> Iterator[tuple[list[I], T]]:
    """Items and what ``run`` gives for them: all at once, or in ever smaller halves where that does not fit.

    Parameters
    ----------
    what : the kind of batch, for the unit's note.
    run : of some of the items; what it gives must not depend on which are run together.

    Raises
    ------
    DoesNotFit : a single item does not.

    Examples
    --------
    >>> def at_most_two(items):
    ...     if len(items) > 2:
    ...         raise MemoryError
    ...     return sum(items)
    >>> list(in_halves("batch", [1, 2, 3, 4, 5], at_most_two))
    [([1, 2], 3), ([3], 3), ([4, 5], 9)]
    """
    pending = deque([list(items)])
    while pending:
        batch = pending.popleft()
        try:
            found = run(batch)
        except Exception as error:
            if not out_of_memory(error):
                raise
            if len(batch) <= 1:
                raise DoesNotFit(next(iter(batch), None)) from error
        else:
            yield batch, found
            continue
        _shrink(what)  # here the error, and with it the tensors of its frames, is gone
        middle = (len(batch) + 1) // 2
        pending.extendleft([batch[middle:], batch[:middle]])


def _shrink(what: str) -> None:
    counts = _shrunk.get()
    if counts is not None:
        counts[what] += 1
    gc.collect()  # frames of the failed attempt that refer to each other hold its tensors
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def too_large(place: str, error: BaseException) -> ModelError:
    """The error of what does not fit, however it is cut.

    Parameters
    ----------
    place : the query, or what else was being done.
    """
    while isinstance(error, DoesNotFit) and error.__cause__ is not None:
        error = error.__cause__
    got = " ".join(str(error).split("\n")[0].split()) or type(error).__name__
    rule = "memory for the rows of one query at one layer"
    return ModelError(
        message("memory", got, rule, place, "Give --dtype bfloat16, or a device with more memory")
    )
