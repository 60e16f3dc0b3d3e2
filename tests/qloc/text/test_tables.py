"""Tables as plain text."""

from __future__ import annotations

from qloc.text.tables import WIDTH, cut, paragraph, table, width


def test_numbers_align() -> None:
    lines = table(["a", "b"], [["x", 1], ["yy", 1000]]).splitlines()
    assert lines == ["  a       b", "  x       1", "  yy  1,000"]


def test_text_stands_left_and_lines_end_without_spaces():
    lines = table(["model", "n", "note"], [["gpt2", 12_000, "x"], ["bert-base", None, "longer"]]).split("\n")
    assert lines == ["  model           n  note", "  gpt2       12,000  x", "  bert-base       –  longer"]


def test_a_paragraph_is_broken_at_the_width_of_a_page():
    lines = paragraph("word " * 60).split("\n")
    assert max(map(len, lines)) <= WIDTH
    assert all(line.startswith("  word") for line in lines)


def test_a_page_is_as_wide_as_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    assert width() == 60
    assert max(map(len, paragraph("word " * 60).split("\n"))) <= 60
    monkeypatch.setenv("COLUMNS", "5")
    assert width() == 40


def test_a_text_is_cut_to_its_width():
    assert cut("capital", 7) == "capital"
    assert cut("capital of", 8) == "capital…"
