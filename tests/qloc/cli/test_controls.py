"""``qloc controls``, as users type it."""

from __future__ import annotations

from pathlib import Path

from commands import refused


def test_a_planted_study_has_no_model_to_repeat_it_with(stores: tuple[Path, Path], tmp_path: Path) -> None:
    page = refused("controls", stores[0], "--out", tmp_path / "c")
    assert "store is 'made without a model'; expected an extraction's, which can be repeated." in page
    assert not (tmp_path / "c").exists()
