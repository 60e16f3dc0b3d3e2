"""Compare dataclasses that were made of somebody's JSON with their own annotations."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator, Mapping
from types import NoneType, UnionType
from typing import Any, Final, Literal, get_args, get_origin

_PLAIN: Final = (str, int, float, bool, NoneType)


def mistyped(value: Any, kind: Any, place: str = "") -> Iterator[tuple[str, Any, str]]:
    """Tell where a value, or what is nested in it, is not of its annotated type.

    Parameters
    ----------
    value : Any
        The value.
    kind : Any
        A dataclass, str, int, float, bool, None, Any, or a union, literal, mapping or tuple of these.
        An int is a float too; a truth value is no number.
    place : str, default ""
        Path of the value.

    Yields
    ------
    place : str
        Path of what is wrong, such as ``questions[0].title``.
    value : Any
        What stands there.
    rule : str
        The type that is expected there.

    Examples
    --------
    >>> @dataclasses.dataclass
    ... class Point:
    ...     x: float
    ...     name: "str | None" = None
    >>> list(mistyped((Point(1), Point("1", "b")), tuple[Point, ...], "points"))
    [('points[1].x', '1', 'float')]
    """
    origin, parts = get_origin(kind), get_args(kind)
    if kind is Any:
        return
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if type(value) is not kind:
            yield place, value, kind.__name__
            return
        for name, inner in typing.get_type_hints(kind).items():
            yield from mistyped(getattr(value, name), inner, f"{place}.{name}".lstrip("."))
    elif origin is tuple:
        if not isinstance(value, tuple):
            yield place, value, "list"
            return
        for number, part in enumerate(value):
            yield from mistyped(part, parts[0], f"{place}[{number}]")
    elif origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            yield place, value, "object"
            return
        for name, part in value.items():
            yield from mistyped(part, parts[1], f"{place}.{name}")
    elif origin is Literal:
        if value not in parts:
            yield place, value, " or ".join(map(repr, parts))
    elif origin in (UnionType, typing.Union):
        if all(next(mistyped(value, part), None) for part in parts):
            yield place, value, " or ".join(_name(part) for part in parts)
    elif not _is_plain(value, kind):
        yield place, value, _name(kind)


def _is_plain(value: Any, kind: Any) -> bool:
    if kind not in _PLAIN:
        raise TypeError(f"{kind!r} is no type of plain data")
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, int | float if kind is float else kind)


def _name(kind: Any) -> str:
    return "null" if kind is NoneType else str(getattr(kind, "__name__", kind))
