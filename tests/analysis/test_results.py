"""Results as data: sentences, tables, and the way to study.json and back."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from qloc.analysis.plain_values import plain
from qloc.analysis.results import (
    FILE,
    EffectSize,
    Interval,
    Question,
    StudyResult,
    Table,
    TestResult,
    load,
)
from qloc.errors import InputError
from qloc.hypothesis_registry import REGISTRY

TEST = TestResult(
    name="H1a",
    question="Do sets overlap?",
    estimand="overlap beyond chance",
    unit="fact",
    n={"relations": 9, "facts": 1812},
    estimate=-0.04237,
    interval=Interval(low=-0.0612, high=1234.4, confidence=0.95, method="two-way"),
    effect=EffectSize(name="Hedges' g", value=0.5, interval=None),
    method="flips, 999",
    p=0.0412,
    role="exploratory",
    verdict="no relevant difference",
    claims=REGISTRY["H1a"].claims,
    p_adjusted=0.0004,
    p_opposite=0.9,
    margin=0.05,
    p_equivalence=0.0312,
    least_p=0.001,
    least_by="999 flips",
    checks=("First.", "Second."),
    seed=3,
    store="abc",
)
RESULT = StudyResult(
    title="T",
    model="m",
    facts="f",
    questions=(
        Question(
            id="consistency",
            title="?",
            answer="a",
            tests=(TEST, replace(TEST, name="H1b", estimate=math.nan, interval=None, effect=None, p=None)),
            tables=(Table(name="one", title="One", columns={"a": (1, None), "b": ("x", 0.1)}, note="n"),),
            method="m",
            references=("r",),
        ),
    ),
    provenance={"seed": "3"},
    counts={"facts": 2},
    plan={"threshold": 0.2, "thresholds": [0.1, 0.2]},
    synthetic=True,
    notes=("few",),
)


OLD = (
    "expected 2: verdicts of format 1 knew no direction and no smallest effect of interest. At {path}. "
    "Analyze again with this qloc."
)


def test_a_sentence_has_the_digits_that_its_interval_leaves_and_a_minus_sign():
    close = replace(TEST, interval=Interval(low=-0.0612, high=-0.0236, confidence=0.95, method="t"))
    assert close.sentence().startswith(
        "H1a: overlap beyond chance is −0.042 (95% interval −0.061 to −0.024) over"
    )
    assert TEST.sentence() == (
        "H1a: overlap beyond chance is 0 (95% interval 0 to 1,234) over 9 relations, 1,812 facts; "
        "p = 0.041 (least possible: 0.001), adjusted p < 0.001. ≈ No relevant difference: within ±0.05, p = 0.031."
    )
    assert str(TEST) == TEST.sentence()


def test_a_verdict_says_what_must_stand_beside_it():
    def outcome(verdict, **more):
        return replace(TEST, verdict=verdict, **more).outcome()

    assert outcome("holds") == "✓ Holds"
    assert (
        outcome("the opposite holds", p_opposite_adjusted=0.02)
        == "✕ The opposite holds: p of the opposite = 0.02"
    )
    assert (
        outcome("undecided", detectable=0.25) == "? Undecided: an effect of 0.25 would be found 4 times of 5"
    )
    untold = {"least_p": 2**-6, "least_by": "6 relations"}
    assert outcome("cannot be told", **untold) == "∅ Cannot be told: 6 relations allow no p below 0.0156"
    assert outcome("cannot be told", least_p_adjusted=4 * 2**-6, **untold) == (
        "∅ Cannot be told: 6 relations allow no p below 0.0156, 0.0625 after correction"
    )


def test_a_sentence_leaves_out_what_there_is_not():
    bare = replace(
        TEST, estimate=math.nan, interval=None, n={}, p=None, p_adjusted=None, verdict="not identified"
    )
    assert bare.sentence() == "H1a: overlap beyond chance is not available. ∅ Not identified."
    tested = replace(
        TEST, interval=None, n={}, p=0.0001, p_adjusted=None, estimate=0.0, verdict="holds", least_p=None
    )
    assert tested.sentence() == "H1a: overlap beyond chance is 0; p < 0.001. ✓ Holds."
    odd = replace(
        TEST,
        interval=None,
        n={},
        p=math.nan,
        p_adjusted=1.0,
        estimate=1e-5,
        verdict="undecided",
        least_p=None,
    )
    assert odd.sentence() == (
        "H1a: overlap beyond chance is 1.00 × 10⁻⁵; p not available, adjusted p = 1. ? Undecided."
    )


def test_a_test_is_one_row():
    row = TEST.to_frame()
    assert len(row) == 1
    cells = row.iloc[0]
    assert cells["interval_low"] == -0.0612
    assert cells["effect_name"] == "Hedges' g"
    assert cells["n_facts"] == 1812
    assert cells["checks"] == "First.; Second."
    assert cells["p"] == 0.0412


def test_tables_keep_what_a_frame_has():
    frame = pd.DataFrame({"a": np.array([1, 2], dtype=np.int32), "b": [0.1, np.nan], "c": ["x", None]})
    table = Table.from_frame(frame, name="t", title="T", labels={"a": "A"})
    assert table.columns == {"a": (1, 2), "b": (0.1, None), "c": ("x", None)}
    assert [type(cell) for cell in table.columns["a"]] == [int, int]
    assert table.to_frame()["b"].tolist()[0] == 0.1
    assert (table.labels, table.note) == ({"a": "A"}, "")


def test_questions_and_tables_are_found_by_name():
    question = RESULT.question("consistency")
    assert question is RESULT.questions[0]
    assert question.table("one") is question.tables[0]
    assert question.table("two") is None
    assert RESULT.question("nothing") is None
    assert [test.name for test in RESULT.tests()] == ["H1a", "H1b"]


def test_results_come_back_as_they_were(tmp_path: Path):
    path = RESULT.save(tmp_path / "new")
    assert path == tmp_path / "new" / FILE
    again = load(tmp_path / "new")
    first, second = again.tests()
    assert first == TEST
    assert math.isnan(second.estimate)
    assert (second.interval, second.effect, second.p) == (None, None, None)
    assert replace(again, questions=()) == replace(RESULT, questions=())
    assert again.questions[0].tables == RESULT.questions[0].tables
    assert [file.name for file in (tmp_path / "new").iterdir()] == [FILE]


def test_plain_is_json_without_nan():
    value: Any = {1: (np.float64(0.5), np.int64(3), math.nan, math.inf), "t": Path("a"), "b": np.bool_(True)}
    assert plain(value) == {"1": [0.5, 3, None, None], "t": "a", "b": True}
    json.dumps(plain(RESULT), allow_nan=False)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            None,
            "results is '{folder}'; expected a folder that `qloc analyze` wrote, with study.json in it. "
            "At {path}. Run `qloc analyze` first.",
        ),
        ("[]", "format of results is None; " + OLD),
        ('{{"format": 1}}', "format of results is 1; " + OLD),
        (
            '{{"format": 2, "questions": []}}',
            "results is '{folder}'; expected a whole study.json as `qloc analyze` writes it. "
            "At {path}. Run `qloc analyze` again.",
        ),
    ],
)
def test_what_is_no_result_is_refused(tmp_path: Path, content, expected):
    path = tmp_path / FILE
    if content is not None:
        path.write_text(content.format())
    with pytest.raises(InputError) as caught:
        load(tmp_path)
    assert str(caught.value) == expected.format(folder=tmp_path, path=path)


def test_edited_results_are_refused_with_each_place(tmp_path: Path):
    RESULT.save(tmp_path)
    path = tmp_path / "study.json"
    content = json.loads(path.read_text())
    content["title"], content["questions"][0]["tests"][0]["alpha"] = 5, "x"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError) as caught:
        load(tmp_path)
    action = f"At {path}. Run `qloc analyze` again."
    assert caught.value.problems == (
        f"title is 5; expected str. {action}",
        f"questions[0].tests[0].alpha is 'x'; expected float. {action}",
    )


def _places(value, at=()):
    """Every place in nested JSON."""
    yield at
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in parts:
        yield from _places(part, (*at, name))


@pytest.mark.parametrize("instead", [None, 7, -1.5, "x", [], {}, [[]], {"a": 1}, True, 2**70])
def test_results_with_anything_replaced_are_read_or_refused(tmp_path: Path, instead):
    """What is read can be told in full, tabulated and saved."""
    RESULT.save(tmp_path)
    path = tmp_path / "study.json"
    original = path.read_text()
    for place in [*_places(json.loads(original))][1:]:
        content = json.loads(original)
        inside = content
        for name in place[:-1]:
            inside = inside[name]
        inside[place[-1]] = instead
        path.write_text(json.dumps(content))
        try:
            found = load(tmp_path)
        except InputError:
            continue
        found.save(tmp_path / "again")
        for question in found.questions:
            [test.sentence() for test in question.tests]
            [(table.to_frame(), test.to_frame()) for table in question.tables for test in question.tests]
