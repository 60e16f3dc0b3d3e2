"""What is on file of published studies: whole, strict, and found by the labels of a row."""

from pathlib import Path

import pytest

from qloc.analysis.reproductions.published import NOT_ON_FILE, STUDIES, Published, Value, published
from qloc.errors import InputError
from qloc.plan import Plan
from qloc.text.rounding import Cell


def test_what_is_on_file_is_whole() -> None:
    for name in STUDIES:
        found = published(name)
        assert Plan.model_validate({**found.plan, "model": "m"}).facts == found.plan["facts"]
        assert not [
            one for one in found.settings if one.status == "as published" and "not checked" in one.where
        ]
        assert "arXiv" in found.source
    with pytest.raises(InputError, match="study is 'nobody'; expected one of chen, dai, niu"):
        published("nobody")


def test_a_value_is_that_of_the_labels_that_the_row_has():
    cell = Value(table="t", row={"score": "CS2", "threshold": "0.1"}, column="ratio", value=0.4, where="p. 3")
    study = Published(title="T", source="S", values=(cell,))
    row: dict[str, Cell] = {"model": "gpt2", "score": "CS2", "threshold": 0.1}
    assert study.value("t", row, "ratio") == 0.4
    others: list[tuple[str, dict[str, Cell], str]] = [
        ("other", row, "ratio"),
        ("t", row, "other"),
        ("t", {**row, "score": "CS1"}, "ratio"),
        ("t", {"model": "gpt2", "score": "CS2"}, "ratio"),
    ]
    for table, labels, column in others:
        assert study.value(table, labels, column) == NOT_ON_FILE


def test_a_file_adds_studies_and_replaces_those_of_its_names(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text("chen: {title: Mine, source: S}\nnew: {title: N, source: S}\n")
    assert published("chen", path).title == "Mine"
    assert published("new", path).title == "N"
    assert published("dai", path) == published("dai")
    with pytest.raises(InputError) as caught:
        published("none", path)
    assert str(caught.value) == (
        "study is 'none'; expected one of chen, dai, niu, new. At qloc reproduce. Choose one."
    )


def test_every_problem_of_a_file_is_told_at_once(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text("chen: {title: T, source: S, value: []}\nniu: 3\n")
    with pytest.raises(InputError) as caught:
        published("chen", path)
    assert len(caught.value.problems) == 2
    assert str(caught.value).startswith("chen.value is []; expected Extra inputs are not permitted.")


@pytest.mark.parametrize(
    ("content", "expected"), [("a: [", "expected YAML"), ("- 1", "expected a study's name")]
)
def test_what_is_no_such_file_is_refused(tmp_path: Path, content, expected):
    path = tmp_path / "mine.yaml"
    with pytest.raises(InputError, match="expected a readable file"):
        published("chen", path)
    path.write_text(content)
    with pytest.raises(InputError, match=expected):
        published("chen", path)
