"""The names of files and folders are part of every store that exists: they may not change."""

from synthetic import FINGERPRINT

from qloc.store import names
from qloc.store.writing.writer import Writer


def test_names_are_those_of_the_stores_that_people_have():
    assert (names.ROOT, names.MANIFEST, names.CARD) == ("zarr.json", "manifest.json", "README.md")
    assert (names.UNITS, names.LEDGER, names.LOCK) == ("units", "ledger", "lock")
    assert names.APPENDING == "appending"


def test_complete_store_has_root_manifest_and_card(finished):
    files = {path.name for path in finished.iterdir() if path.is_file()}
    assert files == {names.ROOT, names.MANIFEST, names.CARD}


def test_unfinished_store_has_units_and_a_ledger_with_its_lock(tmp_path, study):
    with Writer.open(tmp_path / "s.zarr", study.outline(), FINGERPRINT):
        assert (tmp_path / "s.zarr" / names.UNITS).is_dir()
        assert (tmp_path / "s.zarr" / names.LEDGER / names.LOCK).is_file()
