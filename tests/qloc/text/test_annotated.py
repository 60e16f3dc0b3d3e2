"""Values against annotations: each kind of type, right and wrong, at any depth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from qloc.text.annotated import mistyped


@dataclass(frozen=True)
class Leaf:
    kind: Literal["a", "b"]
    size: int


@dataclass(frozen=True)
class Tree:
    leaves: tuple[Leaf, ...]
    counts: Mapping[str, int]
    best: Leaf | None
    cells: tuple[str | float | None, ...]
    free: Mapping[str, Any]
    share: float = 0.0
    flag: bool = False


MAKE: Any = Tree
LEAF: Any = Leaf

RIGHT = MAKE((LEAF("a", 1),), {"n": 1}, LEAF("b", 2), ("x", 1, 0.5, None), {"any": [object]})


def test_what_is_right_is_right() -> None:
    assert list(mistyped(RIGHT, Tree)) == []
    assert list(mistyped(MAKE((), {}, None, (), {}, share=1, flag=True), Tree)) == []


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (MAKE(((1, 2),), {}, None, (), {}), ("leaves[0]", (1, 2), "Leaf")),
        (MAKE([LEAF("a", 1)], {}, None, (), {}), ("leaves", [LEAF("a", 1)], "list")),
        (MAKE((LEAF("c", 1),), {}, None, (), {}), ("leaves[0].kind", "c", "'a' or 'b'")),
        (MAKE((LEAF([], 1),), {}, None, (), {}), ("leaves[0].kind", [], "'a' or 'b'")),
        (MAKE((LEAF("a", True),), {}, None, (), {}), ("leaves[0].size", True, "int")),
        (MAKE((), [1], None, (), {}), ("counts", [1], "object")),
        (MAKE((), {"n": 0.5}, None, (), {}), ("counts.n", 0.5, "int")),
        (MAKE((), {}, "x", (), {}), ("best", "x", "Leaf or null")),
        (MAKE((), {}, LEAF("a", "1"), (), {}), ("best", LEAF("a", "1"), "Leaf or null")),
        (MAKE((), {}, None, (["x"],), {}), ("cells[0]", ["x"], "str or float or null")),
        (MAKE((), {}, None, (), {}, share="1"), ("share", "1", "float")),
        (MAKE((), {}, None, (), {}, flag=1), ("flag", 1, "bool")),
        (None, ("", None, "Tree")),
    ],
)
def test_what_is_wrong_is_told_with_its_place(wrong: Any, expected: tuple[str, Any, str]) -> None:
    assert list(mistyped(wrong, Tree)) == [expected]
