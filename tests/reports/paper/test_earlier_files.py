"""Tables and figures of an earlier report are removed; whatever is somebody's stays."""

from __future__ import annotations

import json
from pathlib import Path

from qloc.reports.paper.earlier_files import LIST, listed, remove_earlier

OURS = {
    "tables/old.tex": b"old",
    "tables/changed.csv": b"as it was written",
    "figures/kept.pdf": b"kept",
    "figures/gone.svg": b"gone",
    "methods.tex": b"methods",
}


def folder_of(path: Path) -> Path:
    for name, content in OURS.items():
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_bytes(content)
    (path / LIST).write_bytes(listed(OURS))
    return path


def test_only_what_was_written_and_not_changed_is_removed(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    (folder / "tables/changed.csv").write_bytes(b"by hand")
    (folder / "tables/mine.tex").write_bytes(b"old")
    (folder / "figures/gone.svg").unlink()
    assert remove_earlier(folder, {"figures/kept.pdf"}) == ("tables/old.tex",)
    left = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert left == ["figures/kept.pdf", "methods.tex", "tables/changed.csv", "tables/mine.tex", LIST]


def test_a_list_of_a_stranger_leads_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "outside.tex").write_bytes(b"old")
    (tmp_path / "paper").mkdir()
    folder = folder_of(tmp_path / "paper")
    (folder / "tables/link.tex").symlink_to(tmp_path / "outside.tex")
    digest = json.loads((folder / LIST).read_text())["tables/old.tex"]
    names = ("../outside.tex", "tables/../../outside.tex", "/etc/hosts", "tables/link.tex", "methods.tex")
    (folder / LIST).write_text(json.dumps(dict.fromkeys(names, digest)))
    assert remove_earlier(folder, ()) == ()
    assert (tmp_path / "outside.tex").read_bytes() == b"old"
    for text in ("", "[]", "{", "7"):
        (folder / LIST).write_text(text)
        assert remove_earlier(folder, ()) == ()
    (folder / LIST).unlink()
    assert remove_earlier(folder, ()) == ()
