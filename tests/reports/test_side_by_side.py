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
    assert table.heads == ("test", study.title, "other")
    assert table.columns[2][:1] == ("✓ holds, 0.412 [0.381, 0.442]",)
    assert table.columns[2][2] == "not made"
    assert document.comparison.figure is not None
    assert [panel.title for panel in document.comparison.figure.panels] == ["H1a", "H1b", "H2", "L1", "L2"]
