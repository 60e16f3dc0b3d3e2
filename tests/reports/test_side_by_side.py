"""Several studies side by side."""

from __future__ import annotations

import dataclasses

from qloc.reports.build import build


def test_several_studies_are_compared(study):
    other = dataclasses.replace(study, title="other", questions=study.questions[:1])
    document = build([study, other])
    assert document.title == "2 studies compared"
    assert document.comparison is not None
    table = document.comparison.table
    assert table.heads == ("test", study.title, "other", "unit", "role")
    sizes = "9 relations, 812 facts, 6,120 queries"
    assert table.columns[2][:1] == (f"✓ holds, 0.412 [0.381, 0.442], adjusted p = 0.003; {sizes}",)
    assert table.columns[2][2] == "not made"
    assert [test.role for test in document.comparison.tests] == ["confirmatory"] * 3 + [
        "exploratory",
        "descriptive",
    ]
    assert document.comparison.figure is not None
    assert [series.name for series in document.comparison.figure.series] == [study.title, "other"]
    assert all(part.summary.figure is None for part in document.parts)  # drawn once
