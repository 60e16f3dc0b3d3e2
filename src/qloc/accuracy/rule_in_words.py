"""A store's quadrature rule in words, and what it promises (docs/extraction.md#quadrature)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_COARSEST: Final = {"bfloat16": 2.0**-7, "float16": 2.0**-10, "float32": 2.0**-23, "float64": 2.0**-52}
"""Rounding unit of each dtype that a model may have."""


def effective_error(asked: float, dtype: str) -> float:
    """Return the error bound that ``certified`` quadrature works towards in a model's dtype.

    Parameters
    ----------
    asked : float
        ``quadrature_error`` of the plan.
    dtype : str
        Of the model's weights, as the store names it.

    Returns
    -------
    float
        The larger of ``asked`` and four times the rounding unit; ``asked`` for an unknown dtype.

    Examples
    --------
    >>> effective_error(0.001, "float32"), effective_error(0.001, "bfloat16")
    (0.001, 0.03125)
    """
    return max(asked, 4 * _COARSEST.get(dtype, 0.0))


def rule_in_words(attributes: Mapping[str, Any]) -> str:
    """Return a store's quadrature rule in words, and what it promises.

    Parameters
    ----------
    attributes : mapping
        Root attributes of the store.

    Returns
    -------
    str
        Such as ``certified, error bound ≤ 0.001 of each query's largest``.

    Examples
    --------
    >>> rule_in_words({"quadrature": "midpoint", "steps": 20})
    'midpoint 20: no error bound'
    >>> rule_in_words({"quadrature": "certified", "quadrature_error": 0.001, "dtype": "bfloat16"})
    "certified, error bound ≤ 0.03125 of each query's largest (0.001 asked; bfloat16 allows no finer)"
    """
    rule, asked = attributes.get("quadrature"), attributes.get("quadrature_error")
    if rule == "certified" and isinstance(asked, float | int):
        dtype = str(attributes.get("dtype", ""))
        held = effective_error(asked, dtype)
        coarser = f" ({asked:g} asked; {dtype} allows no finer)" if held > asked else ""
        return f"certified, error bound ≤ {held:.4g} of each query's largest{coarser}"
    if rule == "adaptive" and "gap_tolerance" in attributes:
        return f"adaptive, completeness gap ≤ {attributes['gap_tolerance']:g}: no error bound"
    name = rule_name(attributes)
    return name if rule is None else f"{name}: no error bound"


def rule_name(attributes: Mapping[str, Any]) -> str:
    """Return the name of a store's quadrature rule, with its nodes where they are fixed.

    Parameters
    ----------
    attributes : mapping
        Root attributes of the store.

    Returns
    -------
    str
        Such as ``midpoint 20``.

    Examples
    --------
    >>> rule_name({"quadrature": "midpoint", "steps": 20}), rule_name({"quadrature": "adaptive", "steps": 8})
    ('midpoint 20', 'adaptive')
    """
    rule = attributes.get("quadrature")
    if rule is None:
        return "a rule that the store does not name"
    return (
        str(rule) if rule in ("certified", "adaptive") else f"{rule} {attributes.get('steps', '')}".rstrip()
    )
