"""``qloc report``: where it writes, and what is refused."""

from __future__ import annotations

from pathlib import Path

from commands import done, refused

from qloc.analysis.results import StudyResult
from qloc.reports.render import format_of


def test_what_is_no_result_is_no_report(tmp_path: Path) -> None:
    rule = "a folder that `qloc analyze` wrote, with study.json in it"
    assert refused("report", tmp_path, tmp_path / "x", "--out", tmp_path / "r.html") == (
        "Errors:\n" + "\n".join(
            f"  - results is '{path}'; expected {rule}. At {path}. Run `qloc analyze` first."
            for path in (tmp_path, tmp_path / "x")
        )
    )  # fmt: skip
    assert not (tmp_path / "r.html").exists()


def test_a_file_is_written_in_the_format_that_it_ends_as(tmp_path: Path) -> None:
    assert refused("report", tmp_path, "--format", "html", "--out", tmp_path / "x.md") == (
        f"Error: out is '{tmp_path / 'x.md'}'; expected a name with the ending .html, or --format md. "
        "At qloc report --format html. Give the one that is meant."
    )
    assert format_of(tmp_path / "x.md") == format_of(tmp_path / "x.markdown") == "md"
    assert format_of(tmp_path / "x.zarr") is None


def test_a_paper_is_a_folder(tmp_path: Path) -> None:
    nothing = StudyResult(title="t", model="m", facts="f", questions=(), provenance={}, counts={}, plan={})
    nothing.save(tmp_path / "r")
    paper = tmp_path / "my paper"
    assert done("report", tmp_path / "r", "--format", "latex", "--out", paper) == (
        f"Report: {paper}/main.tex\nNext:\n  cd '{paper}' && pdflatex main && pdflatex main\n"
    )
    assert {path.name for path in paper.iterdir()} >= {"main.tex", "methods.tex", "references.bib"}
    said = refused("report", tmp_path / "r", "--format", "latex", "--out", tmp_path / "x.tex")
    assert said == (
        f"Error: out is '{tmp_path / 'x.tex'}'; expected a folder, into which main.tex and its files are "
        "written. At qloc report --format latex. Leave out the ending."
    )
