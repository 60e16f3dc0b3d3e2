"""Read JSON and YAML that anybody may have written: whatever is wrong with them is a ValueError.

Python's own readers raise other errors too (RecursionError), take hours (YAML in which brackets nest deeply),
and give values that only fail later: numbers of thousands of digits, halves of characters, lists that contain
themselves.
"""

from __future__ import annotations

import json
from typing import Any, Final, NoReturn

import yaml

DEEPEST: Final = 100
"""How deeply lists and mappings may nest."""

_LONGEST: Final = 20
"""Most characters of a whole number: those of 64 bits, and a sign."""

_MOST_VALUES: Final = 100_000
"""Most values that a YAML text may give, each counted wherever an alias puts it."""


def json_of(content: bytes | str) -> Any:
    """Read JSON.

    Parameters
    ----------
    content : bytes or str
        The text; bytes as UTF-8.

    Returns
    -------
    Any
        Its value.

    Raises
    ------
    ValueError
        It is not JSON (``json.JSONDecodeError``, which says where), has the words NaN or Infinity, nests more
        than 100 deep, or has a whole number of more than 64 bits or half of a character.

    Examples
    --------
    >>> json_of('{"a": [1, 2.5]}')
    {'a': [1, 2.5]}
    >>> json_of("[" * 200_000)
    Traceback (most recent call last):
    ValueError: it nests more than 100 deep
    """
    text = content if isinstance(content, str) else content.decode("utf-8-sig")
    try:
        value = json.loads(text, parse_constant=_refuse, parse_int=_whole)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    if "\\ud" in text or "\\uD" in text:
        json.dumps(value, ensure_ascii=False).encode()  # an escaped half of a surrogate pair is no text
    _refuse_deep(value)
    return value


def yaml_of(text: str) -> Any:
    """Read YAML: plain values, lists and mappings, nothing that is executed.

    Parameters
    ----------
    text : str
        The text.

    Returns
    -------
    Any
        Its value.

    Raises
    ------
    ValueError
        It is not YAML, nests more than 100 deep, gives more than 100,000 values (aliases multiply them) or
        contains itself, or has a value that is none, such as a day 31 of February.

    Examples
    --------
    >>> yaml_of("a: [1, x]")
    {'a': [1, 'x']}
    >>> yaml_of("a: &a [*a]")
    Traceback (most recent call last):
    ValueError: it nests more than 100 deep
    """
    try:
        value = yaml.load(text, _Loader)  # noqa: S506  (a SafeLoader)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    except (AttributeError, TypeError, LookupError) as error:  # malformed !!tags
        raise ValueError(f"a value cannot be made ({error})") from None
    _refuse_deep(value, most=_MOST_VALUES)
    return value


_TOO_DEEP: Final = f"it nests more than {DEEPEST} deep"


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which stops at deep brackets: its time grows with the square of their depth."""

    flow_level: int

    def fetch_flow_collection_start(self, TokenClass: Any) -> None:
        if self.flow_level >= DEEPEST:
            raise yaml.YAMLError(_TOO_DEEP)
        super().fetch_flow_collection_start(TokenClass)


def _yaml_int(loader: yaml.SafeLoader, node: Any) -> int:
    value: int = yaml.SafeLoader.construct_yaml_int(loader, node)
    if value.bit_length() > 64:
        raise ValueError(_TOO_LONG)
    return value


_Loader.add_constructor("tag:yaml.org,2002:int", _yaml_int)

_NESTED: Final = (list, dict)
_TOO_LONG: Final = "it has a whole number of more than 64 bits"


def _whole(digits: str) -> int:
    if len(digits) > _LONGEST:
        raise ValueError(_TOO_LONG)
    return int(digits)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _refuse_deep(value: Any, *, most: int | None = None) -> None:
    """Refuse what nests too deeply, and where ``most`` is given, what has more values. Level by level."""
    level, n_values = [value], 0
    for _ in range(DEEPEST + 1):
        inside = [part for part in level if isinstance(part, _NESTED)]
        if not inside:
            return
        level = []
        for part in inside:
            n_values += len(part)
            if most is not None and n_values > most:
                raise ValueError(f"it gives more than {most:,} values")
            level += part.values() if isinstance(part, dict) else part
    raise ValueError(_TOO_DEEP)
