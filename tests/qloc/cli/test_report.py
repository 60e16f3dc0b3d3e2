"""``qloc report``: what is refused."""

from __future__ import annotations

from pathlib import Path

from commands import refused


def test_what_is_no_result_is_no_report(tmp_path: Path) -> None:
    rule = "a folder that `qloc analyze` wrote, with study.json in it"
    assert refused("report", tmp_path, tmp_path / "x", "--out", tmp_path / "r.html") == (
        "Errors:\n" + "\n".join(
            f"  - results is '{path}'; expected {rule}. At {path}. Run `qloc analyze` first."
            for path in (tmp_path, tmp_path / "x")
        )
    )  # fmt: skip
    assert not (tmp_path / "r.html").exists()
