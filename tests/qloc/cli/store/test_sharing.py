"""``qloc store`` for sharing, as users type it."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from commands import done, refused

from qloc.simulation.simulate import simulate


def test_pack_of_a_url_says_to_pull_it(tmp_path: Path) -> None:
    url = "s3://bucket/gpt2.zarr"
    assert refused("store", "pack", url) == (
        f"Error: store is '{url}'; expected a path on this machine. At qloc store pack. "
        f"Run qloc store pull {url} STORE, and give STORE."
    )


COMMANDS = ["repair", "pack", "unpack", "push", "pull", "export", "import", "diff", "merge"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_a_page_to_act_on(command: str) -> None:
    page = done("store", command, "--help")
    assert page.startswith(f"Usage: qloc store {command} ")
    assert "\b" not in page
    assert re.search(rf"\n +qloc store {command} [a-z]+", page)


def test_store_lists_them() -> None:
    page = done("store", "--help").partition("Commands:\n")[2]
    assert [line.split()[0] for line in page.splitlines()] == ["info", "verify", *COMMANDS]


def test_pack_and_unpack(planted: Path, tmp_path: Path) -> None:
    archive, again = tmp_path / "p.zarr.zip", tmp_path / "p.zarr"
    said = done("store", "pack", planted, archive)
    assert re.fullmatch(
        re.escape(f"Archive: {archive} (")
        + r"[\d.]+ kB\)\nNext:\n"
        + re.escape(f"  qloc store info {archive}\n  qloc store unpack {archive}\n"),
        said,
    )
    assert done("store", "info", archive).startswith(f"{archive}: qloc store, schema 1, complete\n")
    assert done("store", "verify", archive).startswith(f"{archive}: every byte is as it was written.\n")
    assert done("store", "unpack", archive) == (
        f"Store: {again}, every byte as it was packed.\n"
        f"Next:\n  qloc analyze {again}\n  qloc store info {again}\n"
    )
    assert refused("store", "unpack", archive) == (
        f"Error: path is 'there already'; expected nothing yet. At {again}. Give another OUT."
    )


def test_push_and_pull(planted: Path, tmp_path: Path) -> None:
    url, again = f"file://{tmp_path}/there/p.zarr", tmp_path / "p.zarr"
    assert done("store", "push", planted, url) == (
        f"Store: {url}, every object as it is here.\nNext:\n  qloc analyze {url}\n"
        f"  qloc store pull {url} p.zarr\n"
    )
    assert done("store", "info", url).startswith(f"{url}: qloc store, schema 1, complete\n")
    assert done("store", "verify", url).startswith(f"{url}: every byte is as it was written.\n")
    log = tmp_path / "log"
    assert done("store", "pull", url, again, "--log", log) == (
        f"Store: {again}, every byte as its manifest says.\n"
        f"Next:\n  qloc analyze {again}\n  qloc store info {again}\n"
    )
    last = json.loads(log.read_text().splitlines()[-1])
    assert (last["event"], last["stage"], last["done"]) == ("end", "pull", last["total"])
    plan = tmp_path / "plan.yaml"
    plan.write_text(
        "analysis: {n_permutations: 99, n_bootstrap: 99, n_splits: 2, thresholds: [0.2], budgets: [5, 10]}\n"
    )
    assert done("analyze", url, "--plan", plan, "--out", tmp_path / "results", "--quiet") == ""
    said = refused("store", "push", planted, "https://example.org/p.zarr")
    assert said.startswith(
        "Error: URL is 'https://example.org/p.zarr'; expected a URL that can be written to"
    )


@pytest.mark.parametrize("scheme", ["s3", "memory"])
def test_without_the_extra_it_is_named(scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = {"s3": "obstore", "memory": "fsspec"}[scheme]
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "qloc.store.places.object_store_fsspec", raising=False)
    assert refused("store", "pull", f"{scheme}://bucket/p.zarr", tmp_path / "p.zarr") == (
        f"Error: package {package} for {scheme}:// is 'missing'; expected an installed one. "
        f"At {scheme}://bucket/p.zarr. pip install 'qloc[remote]'."
    )


def test_broken_archive_exits_3_with_every_problem(planted: Path, tmp_path: Path) -> None:
    import zipfile

    archive = tmp_path / "p.zarr.zip"
    done("store", "pack", planted, archive)
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr("../one", b"")
        opened.writestr("/two", b"")
    for command in ("unpack", "info", "verify"):
        said = refused("store", command, archive, code=3).splitlines()
        assert said[:3] == [
            "Errors:",
            f"  - name of a member is '../one'; expected a path inside the store. At {archive}. "
            "Do not use this archive; take it from its source again.",
            f"  - name of a member is '/two'; expected a path inside the store. At {archive}. "
            "Do not use this archive; take it from its source again.",
        ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.zarr.zip"]


def test_diff(planted: Path, tmp_path: Path) -> None:
    said = done("store", "diff", planted, planted)
    assert said.startswith(f"{planted} and {planted}: 12 facts, 32 queries\n  fingerprint: the same\n")
    assert said.endswith(f"Next:\n  qloc store diff {planted} {planted} --json      for every array\n")
    found = json.loads(done("store", "diff", planted, planted, "--json", "--threshold", 0.3))
    assert (found["threshold"], found["sets"]["ig"]["exact"]) == (0.3, 1.0)
    simulate(tmp_path / "other.zarr", facts=8, relations=2, templates=3)
    said = refused("store", "diff", planted, tmp_path / "other.zarr")
    assert "  - stores is 'sizes.fact: 12 → 8'; expected the same in both. At " in said


def test_merge(planted: Path, tmp_path: Path) -> None:
    from qloc.simulation.planted import plant
    from qloc.store.writing.writer import Writer

    made = plant(facts=70, relations=2, templates=2)
    units = made.outline.units
    assert len(units) > 1
    for name, chosen in (("a.zarr", units[:1]), ("b.zarr", units[1:]), ("c.zarr", units[:1])):
        with Writer.open(tmp_path / name, made.outline, {"planted": 1}) as writer:
            for unit in chosen:
                writer.write(made.block(unit))
    a, b, c, out = (tmp_path / name for name in ("a.zarr", "b.zarr", "c.zarr", "out.zarr"))
    assert done("store", "merge", a, b, out) == (
        f"Store: {out} (complete)\nNext:\n  qloc analyze {out}\n  qloc store info {out}\n"
    )
    half = tmp_path / "half.zarr"
    assert done("store", "merge", a, c, half) == (
        f"Store: {half} (1 of {len(units)} units)\nNext:\n"
        f"  the qloc extract command of these stores with --out {half}\n  qloc store info {half}\n"
    )
    assert refused("store", "merge", planted, a, tmp_path / "x.zarr") == (
        "Error: store is 'complete'; expected an unfinished store, with units that others lack. "
        f"At {planted}. Use it as it is: it lacks nothing."
    )
