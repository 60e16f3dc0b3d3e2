"""``qloc store info`` and ``verify``, as users type them."""

from __future__ import annotations

from pathlib import Path

from commands import done, refused


def test_a_store_can_be_looked_into_and_verified(planted: Path) -> None:
    assert done("store", "info", planted).startswith(f"{planted}: qloc store, schema 1, complete\n")
    assert done("store", "verify", planted) == (
        f"{planted}: every byte is as it was written.\nNext:\n  qloc analyze {planted}\n"
    )


def test_a_damaged_store_is_told_with_exit_code_3(tmp_path: Path) -> None:
    out = tmp_path / "s.zarr"
    done("simulate", "--facts", 6, "--relations", 2, "--templates", 2, "--out", out)
    chunk = next(path for path in sorted(out.rglob("c/*")) if path.is_file())
    chunk.write_bytes(chunk.read_bytes() + b"x")
    (out / "queries" / "rank" / "zarr.json").unlink()
    said = refused("store", "verify", out, code=3)
    assert said.startswith("Errors:\n  - ")
    assert chunk.relative_to(out).as_posix() in said
    assert "queries/rank/zarr.json" in said
