"""``qloc store repair``, as users type it."""

import shutil
from pathlib import Path

from commands import done, refused


def test_a_store_that_is_whole_is_left_as_it_is(planted: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(planted, tmp_path / "s.zarr"))
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*") if path.is_file()}
    assert "every byte is as it was written" in done("store", "repair", copy)
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*") if path.is_file()} == before


def test_metadata_and_card_are_made_again_without_a_model(planted: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(planted, tmp_path / "s.zarr"))
    (copy / "README.md").unlink()
    (copy / "queries" / "rank" / "zarr.json").unlink()
    done("store", "repair", copy)
    assert done("store", "verify", copy).startswith(f"{copy}: every byte is as it was written.")


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    assert refused("store", "repair", tmp_path).startswith(
        "Error: store is 'without either'; expected manifest.json (complete) or ledger/ (being written)."
    )
