"""Groups made where an earlier run left them half made: whatever it left, and however late it wrote it."""

import shutil

import pytest
from synthetic import FINGERPRINT

from qloc.store.writing.writer import Writer


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("backwards", [False, True], ids=["parents first", "children first"])
def test_every_prefix_of_a_skeleton_is_gone_on_with(tmp_path, as_far_as, study, backwards):
    whole, store, aside = (tmp_path / name for name in ("whole.zarr", "s.zarr", ".s.zarr.new"))
    with Writer.open(whole, study.outline(), FINGERPRINT):
        pass
    names = sorted((p.relative_to(whole).as_posix() for p in whole.rglob("*")), reverse=backwards)
    assert len(names) > 40
    for n in range(0, len(names) + 1, 3 if backwards else 1):
        as_far_as(n, whole, names, aside)
        with Writer.open(store, study.outline(), FINGERPRINT) as writer:
            assert len(writer.missing()) == 4
        assert contents(store) == contents(whole), names[:n]
        assert not aside.exists()
        shutil.rmtree(store)


def test_nothing_comes_late_where_a_skeleton_fails(late, tmp_path, study):
    late(
        tmp_path / ".s.zarr.new" / "zarr.json",
        lambda: Writer.open(tmp_path / "s.zarr", study.outline(), FINGERPRINT),
    )
    assert list(tmp_path.iterdir()) == []
    with Writer.open(tmp_path / "s.zarr", study.outline(), FINGERPRINT) as writer:
        assert len(writer.missing()) == 4
