"""``qloc compare``, as users type it."""

from __future__ import annotations

from pathlib import Path

from commands import done


def test_compare_saves_what_report_reads(stores: tuple[Path, Path], tmp_path: Path) -> None:
    page = done("compare", *stores, "--out", tmp_path / "c")
    assert "early, late compared\n" in page
    assert "support no claim about larger models" in page
    done("report", tmp_path / "c", "--format", "md", "--out", tmp_path / "c.md")
    assert "How do the models differ on the same facts?" in (tmp_path / "c.md").read_text()
