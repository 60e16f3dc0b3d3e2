"""Results are written into no store, and over no other study's results."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from qloc.errors import InputError
from qloc.simulation.simulate import simulate
from qloc.workflows.results_folder import refuse_folder, refuse_parent


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stores") / "s.zarr"
    simulate(path, facts=4, relations=1, templates=2, n_neurons=8, seed=1)
    return path


def written(folder: Path, provenance: dict[str, str], *questions: str) -> Path:
    folder.mkdir()
    content = {"provenance": provenance, "questions": [{"id": name} for name in questions]}
    (folder / "study.json").write_text(json.dumps(content))
    return folder


def fingerprint(store: Path) -> str:
    from qloc.workflows.analyze import open_study

    return open_study(store).fingerprint


def said(folder: Path, store: Path) -> str:
    with pytest.raises(InputError) as caught:
        refuse_folder(folder, "analysis", [store])
    return str(caught.value)


def test_a_store_is_no_folder_of_results(store: Path, tmp_path: Path) -> None:
    action = "Give another --out, such as results."
    assert said(store, store) == (
        f"results is 'a store'; expected a folder outside of every store. At {store}. {action}"
    )
    assert said(store / "results", store) == (
        f"results is 'in the store {store}'; expected a folder outside of every store. At {store / 'results'}. "
        f"{action}"
    )
    (tmp_path / "link").symlink_to(store)
    assert "is 'a store'" in said(tmp_path / "link", store)
    (tmp_path / "file").touch()
    assert said(tmp_path / "file", store).startswith(
        "results is 'a file'; expected a folder, or nothing yet."
    )
    with pytest.raises(InputError, match="results is 'a store'"):
        refuse_parent(store)


def test_the_same_studys_results_are_written_again_and_others_are_not(store: Path, tmp_path: Path) -> None:
    mine, own = fingerprint(store), {"store fingerprint": fingerprint(store)}
    refuse_folder(tmp_path / "nothing", "analysis", [store])
    refuse_folder(tmp_path, "analysis", [store])
    refuse_folder(written(tmp_path / "own", own), "analysis", [store])
    other = written(tmp_path / "other", {"store fingerprint": "f" * 64})
    assert said(other, store) == (
        f"results is 'an analysis from the store ffffffffffff'; expected nothing yet, or the analysis from the store "
        f"{mine[:12]}. At {other}. Give another --out, or remove that folder first."
    )
    both = {"store fingerprint, a": mine, "store fingerprint, b": mine}
    compared = written(tmp_path / "compared", both, "comparison")
    refuse_folder(compared, "comparison", [store, store])
    assert f"is 'a comparison from the stores {mine[:12]}, {mine[:12]}'" in said(compared, store)
    tables = written(tmp_path / "tables", {"store fingerprint, a": mine}, "chen_ratio", "settings")
    refuse_folder(tables, "reproduction", [store], "chen")
    assert "is 'a reproduction of chen from the store" in said(tables, store)
    with pytest.raises(InputError) as caught:
        refuse_folder(tables, "reproduction", [store], "dai")
    assert str(caught.value) == (
        f"results is 'a reproduction of chen from the store {mine[:12]}'; expected nothing yet, or the reproduction of "
        f"dai from the store {mine[:12]}. At {tables}. Give another --out, or remove that folder first."
    )


def test_a_file_of_another_program_stays(store: Path, tmp_path: Path) -> None:
    """Whatever is in it; a pipe is not waited for."""
    for text in ("{}", "[" * 100_000, None):
        (tmp_path / "study.json").unlink(missing_ok=True)
        if text is None:
            os.mkfifo(tmp_path / "study.json")
        else:
            (tmp_path / "study.json").write_text(text)
        assert said(tmp_path, store) == (
            'study.json is "another program\'s"; expected results that qloc wrote, or no such file. '
            f"At {tmp_path}. Give another --out."
        )
