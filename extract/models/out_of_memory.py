"""Continue in halves if a batch does not fit into memory, and note this with the unit.

The size of a batch is a function of the plan, so that the bits of a unit are, too. If a device has less
memory than the plan allows, smaller batches give the same numbers up to rounding. The unit then records what
was halved, and its numbers are promised to tolerance only.
"""

from __future__ import annotations

import gc
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, TypeVar

import torch

from qloc.errors import ModelError, QlocError, message

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741

_WORDS: Final = ("can't allocate memory", "not enough memory", "out of memory", "could not create a memory")
"""Words in the plain RuntimeErrors of torch's CPU allocator, oneDNN and MPS."""

_shrunk: ContextVar[Counter[str] | None] = ContextVar("shrunk", default=None)


class DoesNotFit(MemoryError):
    """Memory ran out for a batch of one item; a caller may be able to cut something else.

    Parameters
    ----------
    item : object
        The item that does not fit.

    Attributes
    ----------
    item : object
        The item that does not fit, of those that were passed to :func:`in_halves`.
    """

    def __init__(self, item: object) -> None:
        super().__init__(item)
        self.item = item


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out.

    Parameters
    ----------
    error : BaseException
        Any error.

    Returns
    -------
    bool
        True for MemoryError, torch's own error, and the RuntimeErrors of torch's CPU allocator, oneDNN and
        MPS.

    Examples
    --------
    >>> out_of_memory(torch.OutOfMemoryError("CUDA out of memory.")), out_of_memory(RuntimeError("shapes"))
    (True, False)
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, QlocError):
        return False  # told already, perhaps in these words
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _WORDS)


def raise_if_out_of_memory(error: BaseException) -> None:
    """Raise an error again if it says that memory ran out: it then tells of the machine, not of the model.

    Parameters
    ----------
    error : BaseException
        Any error.

    Raises
    ------
    BaseException
        The error itself, if memory ran out.
    """
    if out_of_memory(error):
        raise error


@contextmanager
def noting_what_shrinks() -> Iterator[Mapping[str, int]]:
    """Count how often :func:`in_halves` halves a batch inside a ``with`` block.

    Yields
    ------
    mapping of str to int
        Number of halvings by kind of batch; empty if every batch fits.
    """
    counts: Counter[str] = Counter()
    token = _shrunk.set(counts)
    try:
        yield counts
    finally:
        _shrunk.reset(token)


def in_halves(what: str, items: Sequence[I], run: Callable[[list[I]], T]) -> Iterator[tuple[list[I], T]]:
    """Run a function on all items at once, or on ever smaller halves of them if memory runs out.

    Parameters
    ----------
    what : str
        Kind of batch, for the unit's note.
    items : sequence
        The items of the batch.
    run : callable
        Function of a list of items. Its result for an item must not depend on the other items.

    Yields
    ------
    batch : list
        Items that were run together, in input order.
    result : object
        What ``run`` returned for them.

    Raises
    ------
    DoesNotFit
        If memory runs out for a single item.

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
            result = run(batch)
        except Exception as error:
            if not out_of_memory(error):
                raise
            if len(batch) <= 1:
                raise DoesNotFit(next(iter(batch), None)) from error
        else:
            yield batch, result
            continue
        _shrink(what)  # done here because the error, and with it the tensors of its frames, is gone
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
    """Return the error for work that does not fit into memory, however it is cut.

    Parameters
    ----------
    place : str
        The query, or what else was being done.
    error : BaseException
        What was raised; causes of :class:`DoesNotFit` are looked up.

    Returns
    -------
    ModelError
        With the first line of torch's message.
    """
    while isinstance(error, DoesNotFit) and error.__cause__ is not None:
        error = error.__cause__
    got = " ".join(str(error).split("\n")[0].split()) or type(error).__name__
    rule = "memory for the rows of one query at one layer"
    return ModelError(
        message("memory", got, rule, place, "Give --dtype bfloat16, or a device with more memory")
    )
