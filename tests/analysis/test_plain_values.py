"""Values in the types of JSON."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qloc.analysis.plain_values import cell, plain


@dataclass
class Held:
    x: object
    y: object = None


def test_nested_values_become_json():
    value = Held({1: (np.float32(0.5), np.int64(3)), "n": [float("nan"), float("inf")]}, Held(np.bool_(True)))
    expected = {"x": {"1": [0.5, 3], "n": [None, None]}, "y": {"x": True, "y": None}}
    assert plain(value) == expected
    assert json.loads(json.dumps(plain(value), allow_nan=False)) == expected


def test_what_is_no_scalar_is_text():
    assert cell(Path("a")) == "a"
    assert [cell(value) for value in (True, 2, 0.5, "x", None)] == [True, 2, 0.5, "x", None]
