"""Attribution methods: from what a path of activations gives to one score a neuron.

See docs/methods.md#attribution-of-a-query-to-neurons.

A method is one function: rows of activations and gradients in, scores out. Those of qloc are here; users add
theirs by :func:`register`, or name one as ``module:function`` wherever methods are listed.

>>> method("sig").path, method("amig").normalized
('mean', True)
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from qloc.canonical_json import digest
from qloc.errors import InputError, message

PathKind = Literal["none", "zero", "relation", "mean", "token"]
"""Where a method's path starts; it always ends at the activation w̄.

``none``: no path. ``zero``: at 0. ``relation``: at ā, the mean activation over the queries of the relation's
other facts. ``mean``: at b̄, the mean of the baselines b_i. ``token``: at each b_i, and the scores of these
paths are summed. b_i is the layer's vector when prompt token i is replaced by the mask (masked models) or the
end-of-sequence token (causal ones).
"""


class PathResult(Protocol):
    """What a path gives: torch tensors, the layers of all neurons together.

    Attributes
    ----------
    activation : Any
        (target, layer, neuron), w̄, the end of the path.
    step : Any
        (target, layer, neuron), w̄ less the start of the path.
    gradient : Any
        (target, layer, neuron), ∂P/∂w at w̄.
    mean_gradient : Any
        (target, layer, neuron), ∫₀¹ ∂P/∂w(start + α · step) dα.
    probability : Any
        (target,), P at w̄.
    start_probability : Any
        (target, layer), P with the layer's vector at the start of its path.
    """

    activation: Any
    gradient: Any
    mean_gradient: Any
    probability: Any
    start_probability: Any

    @property
    def step(self) -> Any:
        """(target, layer, neuron), w̄ less the start of the path."""


Score = Callable[[Any], Any]
"""``PathResult`` → (target, layer, neuron)."""


@dataclass(frozen=True, kw_only=True)
class AttributionMethod:
    """One attribution method.

    Attributes
    ----------
    name : str
        What plans list.
    path : PathKind
        Where its path starts.
    score : Score
        From what the path gives to (target, layer, neuron).
    complete : bool
        Whether scores should add up to P(w̄) − P(start), so that the completeness gap is defined.
    normalized : bool
        Whether an answer token's scores are divided by their L2 norm over the whole network.
    source : str
        Digest of a user's function; empty for qloc's own.
    """

    name: str
    path: PathKind
    score: Score
    complete: bool = False
    normalized: bool = False
    source: str = ""


def _integrated(found: PathResult) -> Any:
    return found.step * found.mean_gradient


BUILT_IN: Final = (
    AttributionMethod(name="ig", path="zero", score=_integrated, complete=True),
    AttributionMethod(name="ig_mean", path="relation", score=_integrated, complete=True),
    AttributionMethod(name="amig", path="token", score=_integrated, complete=True, normalized=True),
    AttributionMethod(
        name="amig_mean_path",
        path="mean",
        score=lambda found: found.activation * found.mean_gradient,
        normalized=True,
    ),
    AttributionMethod(name="sig", path="mean", score=_integrated, complete=True),
    AttributionMethod(name="grad_x_act", path="none", score=lambda found: found.activation * found.gradient),
)

_RENAMED: Final = {"amig_as_coded": "amig_mean_path"}
"""Names of before → names now: it is as coded by one rule, at one site and in some models only."""

_REGISTERED: Final = {method.name: method for method in BUILT_IN}


def registered() -> tuple[str, ...]:
    """Return the names of the methods that can be asked for.

    Returns
    -------
    tuple of str
        In the order in which they were registered.
    """
    return tuple(_REGISTERED)


def register(
    name: str, score: Score, *, path: PathKind = "zero", complete: bool = False, normalized: bool = False
) -> AttributionMethod:
    """Add an attribution method; from then on plans may list it.

    Parameters
    ----------
    name : str
        What plans list; another than those of qloc's own methods.
    score : Score
        One function of a :class:`PathResult` that gives scores, (target, layer, neuron).
    path, complete, normalized : PathKind or bool
        As for :class:`AttributionMethod`.

    Returns
    -------
    AttributionMethod
        The method.

    Raises
    ------
    InputError
        A name of qloc's own.
    """
    if any(own.name == name for own in BUILT_IN):
        rule = "another name than those of qloc's own methods"
        raise InputError(message("attribution method", name, rule, "qloc.methods.register", "Rename it"))
    found = AttributionMethod(
        name=name,
        path=path,
        score=score,
        complete=complete,
        normalized=normalized,
        source=digest([_source(score), path, complete, normalized]),
    )
    _REGISTERED[name] = found
    return found


def method(name: str) -> AttributionMethod:
    """Return the method of a name; ``module:function`` is imported once, as :func:`rule_broken_by` tells.

    Parameters
    ----------
    name : str
        Of a registered method, or ``module:function``.

    Returns
    -------
    AttributionMethod
        The method.

    Raises
    ------
    InputError
        No method of that name, or a function that cannot be imported.
    """
    if rule := rule_broken_by(name):
        raise InputError(message("attribution method", name, rule, "methods", "Choose one, or register it"))
    return _REGISTERED[name]


def rule_broken_by(name: str) -> str:
    """Tell what a method's name should be; empty where it is one.

    ``module:function`` is imported and registered; attributes ``path``, ``complete`` and ``normalized`` of
    the function are those of the method.

    Parameters
    ----------
    name : str
        Of a registered method, or ``module:function``.

    Returns
    -------
    str
        The rule that it breaks.
    """
    if name in _REGISTERED:
        return ""
    module, colon, function = name.partition(":")
    if name in _RENAMED:
        return f"{_RENAMED[name]}, as {name} is called now"
    if not colon:
        return f"{', '.join(_REGISTERED)}, or module:function of your own"
    try:
        score: Score = getattr(_imported(module), function)
    except (ImportError, AttributeError) as error:
        return f"module:function that Python can import ({error})"
    options = ("path", "complete", "normalized")
    register(name, score, **{key: getattr(score, key) for key in options if hasattr(score, key)})
    return ""


def _imported(module: str) -> Any:
    """Import a user's module: from the current folder too, where a console script does not look."""
    if not {"", str(here := Path.cwd())} & {*sys.path}:
        sys.path.append(str(here))
    return importlib.import_module(module)


def sources(names: Iterable[str]) -> dict[str, str]:
    """Return the digests of the users' own among some methods, for the fingerprint.

    Parameters
    ----------
    names : iterable of str
        Of methods.

    Returns
    -------
    dict of str to str
        Name → digest of the function's source.
    """
    found = {name: method(name).source for name in names}
    return {name: source for name, source in found.items() if source}


def _source(score: Score) -> str:
    try:
        return inspect.getsource(score)
    except (OSError, TypeError):  # no file, such as in an interpreter's session
        code = getattr(score, "__code__", None)
        return repr((code.co_code.hex(), code.co_names)) if code else repr(type(score))
