"""Checks of what users hand to public functions: each refusal says what was given and what to write."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any, Final

from qloc.analysis.inference.draws import Draws
from qloc.analysis.inputs.study import Study
from qloc.errors import InputError, message
from qloc.neurons import NeuronSets

_OPEN: Final = "Open a store with qloc.open, and give what it returns"


def require_study(given: Any, at: str) -> None:
    """Refuse what is not a study.

    Parameters
    ----------
    given : object
        First argument of a public function.
    at : str
        The function, such as ``qloc.fit``.

    Raises
    ------
    InputError
        It is something else.
    """
    if not isinstance(given, Study):
        raise InputError(message("study", described(given), "a study that qloc.open returned", at, _OPEN))


def require_study_or_sets(given: Any, at: str) -> None:
    """Refuse what is neither a study nor neuron sets.

    Parameters
    ----------
    given : object
        First argument of a public function.
    at : str
        The function, such as ``qloc.hypotheses.beyond_answer``.

    Raises
    ------
    InputError
        It is something else.
    """
    if not isinstance(given, Study | NeuronSets):
        rule = "a study that qloc.open returned, or its neuron sets"
        raise InputError(message("study", described(given), rule, at, _OPEN))


def require_study_or_methods(given: Any, at: str) -> None:
    """Refuse what is neither a study nor a list of the neuron sets of several methods.

    Parameters
    ----------
    given : object
        First argument of a public function.
    at : str
        The function, such as ``qloc.hypotheses.methods_agree``.

    Raises
    ------
    InputError
        It is something else.
    """
    listed = isinstance(given, Sequence) and all(isinstance(part, NeuronSets) for part in given)
    if not isinstance(given, Study) and (not listed or isinstance(given, str)):
        rule = "a study that qloc.open returned, or a list of the neuron sets of several methods"
        raise InputError(message("study", described(given), rule, at, _OPEN))


def require_sets(given: Any, at: str) -> None:
    """Refuse what is not neuron sets.

    Parameters
    ----------
    given : object
        First argument of a public function.
    at : str
        The function, such as ``qloc.consistency``.

    Raises
    ------
    InputError
        It is something else.
    """
    if not isinstance(given, NeuronSets):
        action = "Give study.neurons(), or of several studies their consistency()"
        raise InputError(message("sets", described(given), "neuron sets", at, action))


def require_draws(given: Any, at: str) -> None:
    """Refuse what is not a :class:`~qloc.analysis.inference.draws.Draws`.

    Parameters
    ----------
    given : object
        Argument ``draws`` of a test.
    at : str
        The function.

    Raises
    ------
    InputError
        It is something else.
    """
    if not isinstance(given, Draws):
        action = "Write qloc.Draws(n_permutations=…, seed=…)"
        raise InputError(message("draws", described(given), "qloc.Draws", at, action))


def require_text(given: Any, what: str, at: str, action: str) -> None:
    """Refuse what is not a text.

    Parameters
    ----------
    given : object
        Argument of a public function.
    what : str
        The argument's name.
    at : str
        The function.
    action : str
        What to write.

    Raises
    ------
    InputError
        It is something else.
    """
    if not isinstance(given, str):
        raise InputError(message(what, described(given), "a text", at, action))


def described(given: Any) -> Any:
    """Return a value as messages show it: texts, paths and numbers as they are, others by their type.

    Parameters
    ----------
    given : object
        Any argument.

    Returns
    -------
    object
        The value, or the name of its type.

    Examples
    --------
    >>> described("x.zarr"), described(0.2), described({})
    ('x.zarr', 0.2, 'dict')
    """
    if given is None or isinstance(given, str) or (isinstance(given, Real) and math.isfinite(given)):
        return given
    return type(given).__name__
