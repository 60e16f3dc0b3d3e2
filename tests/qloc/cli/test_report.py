"""``qloc report``: what is refused."""

from __future__ import annotations

from pathlib import Path

from commands import refused

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
