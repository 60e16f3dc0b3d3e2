"""Neuron sets of the user's own: a JSON file ``{name: {fact id: [[layer, index], …]}}``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from qloc.errors import InputError, message
from qloc.phase_plan import MATCHED, NEURON_SETS, InterventionPlan, control_of
from qloc.text.ordinary_files import read_ordinary
from qloc.text.parsing import json_of

OwnSets = Mapping[str, Mapping[str, tuple[tuple[int, int], ...]]]
"""By name and fact id, (layer, index) of each neuron; the empty id stands for all facts not named."""

_RULE: Final = "JSON of the form {name: {fact id: [[layer, index], …]}}"


def read_own_sets(path: str | Path | None) -> OwnSets:
    """Read the sets in a file, names in its order.

    Parameters
    ----------
    path : str or Path or None
        JSON of the form ``{name: {fact id: [[layer, index], …]}}``; None for no file.

    Returns
    -------
    OwnSets
        Name → fact id → neurons as (layer, index); empty without a file.

    Raises
    ------
    InputError
        The file cannot be read, or is not of that form; every problem.
    """
    if path is None:
        return {}
    try:
        found = json_of(read_ordinary(Path(path)))
    except (OSError, ValueError) as error:
        raise InputError(message("file", str(error), _RULE, str(path), "Give another --sets")) from None
    if not isinstance(found, dict):
        got = type(found).__name__
        raise InputError(message("file", got, _RULE, str(path), "Give another --sets"))
    if problems := [text for name in found for text in _problems(name, found, str(path))]:
        raise InputError(problems)
    return {
        name: {fact: tuple((layer, index) for layer, index in neurons) for fact, neurons in facts.items()}
        for name, facts in found.items()
    }


def _problems(name: str, found: Mapping[str, Any], at: str) -> list[str]:
    facts = found[name]
    if name in NEURON_SETS or not name.strip() or not name.isprintable():
        rule = f"a name of your own, none of {', '.join(NEURON_SETS)}"
        return [message("name of a set", name, rule, at, "Rename it")]
    if whose := next((other for other in found if name == control_of(other)), None):
        rule = f"another name than that of the control of set {whose!r}"
        return [message("name of a set", name, rule, at, "Rename it")]
    if not isinstance(facts, dict):
        return [message(f"set {name!r}", type(facts).__name__, "{fact id: neurons}", at, "Mend the file")]
    return [
        message(f"set {name!r} of fact {fact!r}", neurons, "[[layer, index], …]", at, "Mend the file")
        for fact, neurons in facts.items()
        if not isinstance(neurons, list) or not all(map(_is_neuron, neurons))
    ]


def _is_neuron(found: Any) -> bool:
    whole = isinstance(found, list) and len(found) == 2 and all(type(n) is int for n in found)
    return whole and min(found) >= 0


def neuron_set_labels(part: InterventionPlan, own: OwnSets) -> tuple[str, ...]:
    """Order the labels along ``neuron_set``.

    The plan's sets come first, in their fixed order, then the user's, then their controls, then ``matched``.

    Parameters
    ----------
    part : InterventionPlan
        Which sets are intervened on.
    own : OwnSets
        The user's sets by name.

    Returns
    -------
    tuple of str
        Each label once.

    Examples
    --------
    >>> neuron_set_labels(InterventionPlan(sets=("matched", "union", "own")), {"mine": {}})
    ('own', 'union', 'mine', 'mine_matched', 'matched')
    """
    chosen = [name for name in NEURON_SETS if name in part.sets]
    last = [name for name in chosen if name == MATCHED]
    controls = [control_of(name) for name in own] if has_own_controls(part, own) else []
    return (*(name for name in chosen if name != MATCHED), *own, *controls, *last)


def has_own_controls(part: InterventionPlan, own: OwnSets) -> bool:
    """Return whether each of the user's sets gets a matched control.

    Parameters
    ----------
    part : InterventionPlan
        Which sets are intervened on.
    own : OwnSets
        The user's sets by name.

    Returns
    -------
    bool
        False where there are no sets, the plan has no ``matched``, or leaves the controls out.

    Examples
    --------
    >>> has_own_controls(InterventionPlan(), {"mine": {}}), has_own_controls(InterventionPlan(), {})
    (True, False)
    """
    return bool(own) and part.own_controls and MATCHED in part.sets
