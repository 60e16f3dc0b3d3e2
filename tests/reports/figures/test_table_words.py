"""Cells and headings in readers' words."""

from qloc.analysis.results import Table
from qloc.reports.figures.table_words import heading, word


def test_published_scores_say_so_as_columns_and_as_rows():
    table = Table(
        name="t",
        title="",
        columns={"cs1": (0.1,), "kappa": (0.2,), "kappa_low": (0.1,)},
        labels={"cs1": "CS1 (falls)"},
    )
    assert [heading(table, name) for name in table.columns] == ["CS1 (falls), as published", "κ", "κ, low"]
    assert word("cs2") == "CS2, as published"
    assert word("cas_top", "set") == "CAS, top b"
    assert word("update_signed", "change") == "update, signed"
    assert word("cas_top", "subject") == "cas_top"
