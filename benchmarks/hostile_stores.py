"""Stores from a stranger: changed in hundreds of ways, each with a manifest that fits, through every command.

    python benchmarks/hostile_stores.py [--stores 500] [--seed 0] [--only KIND] [--json FILE]

Each store is the shipped one with something changed: metadata, values, bytes of chunks, the sizes that chunks
declare, missing and added objects, the manifest. Whatever was changed, digests are taken anew, so that
``verify`` has nothing to compare with but sense. A process forked for each store runs the commands over it.
Handled is what works, or is refused with exit code 2 or 3; not handled are tracebacks, other exit codes,
signals, more than 2 GB of memory, and more than five minutes of processor time.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import resource
import shutil
import struct
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import google_crc32c
import numcodecs.zstd
import numpy as np

from qloc.canonical_json import canonical
from qloc.shipped import archive

MOST_MEMORY: Final = 2 * 10**9
MOST_SECONDS: Final = 300
ODD: Final[tuple[Any, ...]] = (
    None,
    True,
    -1,
    0,
    2**31,
    2**62,
    1.5,
    "",
    "x",
    "../../x",
    [],
    {},
    [[]],
    {"a": 1},
    "\x1b[31m",
    [1] * 99,
)
"""What may stand where JSON has something else."""

Rng = random.Random
Change = Callable[[Path, Rng], str]


def seal(store: Path) -> None:
    """Write a manifest that fits what is there, as who sends a store can."""
    manifest = json.loads((store / "manifest.json").read_bytes())
    manifest.pop("sha256", None)
    files = sorted(p for p in store.rglob("*") if p.is_file() and p.name != "manifest.json")
    manifest["objects"] = {
        path.relative_to(store).as_posix(): {
            "sha256": sha256(path.read_bytes()).hexdigest(),
            "size": path.stat().st_size,
        }
        for path in files
    }
    with contextlib.suppress(OSError, ValueError):
        manifest["metadata"] = json.loads((store / "zarr.json").read_bytes())
    own = sha256(canonical(manifest)).hexdigest()
    (store / "manifest.json").write_bytes(canonical({**manifest, "sha256": own}))


def consolidate(store: Path) -> None:
    """Bring what is consolidated in the root in line with the metadata of the arrays."""
    root = json.loads((store / "zarr.json").read_bytes())
    nodes = root["consolidated_metadata"]["metadata"]
    for path in store.glob("*/**/zarr.json"):
        with contextlib.suppress(ValueError):
            nodes[path.parent.relative_to(store).as_posix()] = json.loads(path.read_bytes())
    (store / "zarr.json").write_bytes(canonical(root))


# What is changed


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value in a JSON document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for key, child in inner for place in places(child, (*at, key)))]


def with_odd_value(document: Any, rng: Rng) -> str:
    """Put something odd at a random place of a document; say where."""
    *above, last = rng.choice([place for place in places(document) if place])
    holder = document
    for key in above:
        holder = holder[key]
    if rng.random() < 0.15 and isinstance(holder, dict):
        del holder[last]
        return f"{'.'.join(map(str, (*above, last)))} removed"
    old = holder[last]
    number = type(old) is int and rng.random() < 0.6
    holder[last] = (
        rng.choice([old + 1, old - 1, -old - 1, old * 2, old * 1000, 2**31 - 1])
        if number
        else rng.choice(ODD)
    )
    return f"{'.'.join(map(str, (*above, last)))} = {str(holder[last])[:40]}"


def array_metadata(store: Path, rng: Rng) -> str:
    path = rng.choice(sorted(store.glob("*/*/zarr.json")))
    document = json.loads(path.read_bytes())
    said = with_odd_value(document, rng)
    path.write_bytes(canonical(document))
    consolidate(store)
    return f"{path.parent.relative_to(store)}: {said}"


def group_metadata(store: Path, rng: Rng) -> str:
    path = rng.choice(sorted(store.glob("*/zarr.json")))
    document = json.loads(path.read_bytes())
    said = with_odd_value(document, rng)
    path.write_bytes(canonical(document))
    consolidate(store)
    return f"{path.parent.relative_to(store)}: {said}"


def root_attributes(store: Path, rng: Rng) -> str:
    root = json.loads((store / "zarr.json").read_bytes())
    part = rng.choice(["layout", "layout", "fingerprint", "phases", None])
    said = with_odd_value(root["attributes"][part] if part else root["attributes"], rng)
    (store / "zarr.json").write_bytes(canonical(root))
    return f"{part or 'attributes'}: {said}"


def manifest_fields(store: Path, rng: Rng) -> str:
    manifest = json.loads((store / "manifest.json").read_bytes())
    kept = {name: manifest[name] for name in ("libraries", "notes", "run", "schema_version")}
    said = with_odd_value(kept, rng)
    (store / "manifest.json").write_bytes(canonical({**manifest, **kept}))
    return said


INDICES: Final = (
    "queries/fact", "queries/known", "facts/first_query", "facts/n_queries", "facts/leaks",
    "signals/panel_neuron", "signals/fact", "signals/count_above_floor", "signals/converged",
    "interventions/neighbor", "interventions/other_fact", "interventions/n_neurons", "edits/edited_query",
    "edits/probe_query", "edits/held_out", "queries/target_position", "queries/rank", "attention/length",
    "statistics/n_queries",
)  # fmt: skip


def rewritten(store: Path, name: str, change: Callable[[Any], Any]) -> None:
    import zarr

    array: Any = zarr.open_array(store / name, mode="r+", zarr_format=3)
    array[...] = change(np.asarray(array[...]))


def whole_numbers(store: Path, rng: Rng) -> str:
    name = rng.choice([name for name in INDICES if (store / name).is_dir()])
    kind = rng.choice(["+ 2048", "one huge", "one negative", "all the largest", "shuffled", "all zero"])

    def change(values: Any) -> Any:
        flat, most = values.reshape(-1), np.iinfo(values.dtype).max
        at = rng.randrange(flat.size)
        if kind == "+ 2048":
            flat = (flat.astype(np.int64) + 2048).clip(max=most).astype(values.dtype)
        elif kind == "shuffled":
            flat = np.random.default_rng(rng.randrange(99)).permutation(flat)
        else:
            flat[at if kind.startswith("one") else slice(None)] = {
                "one huge": most, "one negative": -2, "all the largest": most, "all zero": 0
            }[kind]  # fmt: skip
        return flat.reshape(values.shape)

    rewritten(store, name, change)
    return f"{name}: {kind}"


def floats(store: Path, rng: Rng) -> str:
    names = [
        path.parent.relative_to(store).as_posix()
        for path in sorted(store.glob("*/*/zarr.json"))
        if json.loads(path.read_bytes())["data_type"].startswith("float")
    ]
    name, value = rng.choice(names), rng.choice([np.nan, np.inf, -np.inf, 1e38, -1e38, 0.0])
    share = rng.choice([0.01, 0.5, 1.0])

    def change(values: Any) -> Any:
        hit = np.random.default_rng(rng.randrange(99)).random(values.shape) < share
        with np.errstate(over="ignore"):
            return np.where(hit, np.array(value).astype(values.dtype), values)

    rewritten(store, name, change)
    return f"{name}: {share:.0%} {value}"


def texts(store: Path, rng: Rng) -> str:
    names = [
        path.parent.relative_to(store).as_posix()
        for path in sorted(store.glob("*/*/zarr.json"))
        if json.loads(path.read_bytes())["data_type"] == "string"
    ]
    name = rng.choice(names)
    text = rng.choice(["", "\x00", "\x1b]0;x\x07", "‮x", "a" * 10**6, "{{7*7}}", "<script>", "\n" * 50, "NaN"])

    def change(values: Any) -> Any:
        values = values.astype(object)
        values.reshape(-1)[rng.randrange(values.size) if rng.random() < 0.5 else slice(None)] = text
        return values.astype("T")

    rewritten(store, name, change)
    return f"{name}: {text[:9]!r}"


def chunks(store: Path) -> list[Path]:
    return sorted(path for path in store.glob("*/*/c/**/*") if path.is_file())


def chunk_bytes(store: Path, rng: Rng) -> str:
    path = rng.choice(chunks(store))
    content, kind = bytearray(path.read_bytes()), rng.choice(["flipped", "cut", "emptied", "longer", "noise"])
    if kind == "flipped":
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    changed: dict[str, bytes] = {
        "flipped": bytes(content), "cut": bytes(content[: len(content) // 2]), "emptied": b"",
        "longer": bytes(content * 2), "noise": rng.randbytes(len(content)),
    }  # fmt: skip
    path.write_bytes(changed[kind])
    return f"{path.relative_to(store)} {kind}"


def declared_sizes(store: Path, rng: Rng) -> str:
    """Chunks whose checksum fits and whose frame, or number of texts, says far more than there is."""
    path = rng.choice(chunks(store))
    kind = rng.choice(["1 TB", "2 GB", "unknown", "texts", "bomb", "one text"])
    frame = b"\x28\xb5\x2f\xfd\xe0"
    content = {
        "1 TB": lambda: frame + struct.pack("<Q", 2**40) + b"\x01\x00\x00",
        "2 GB": lambda: frame + struct.pack("<Q", 2**31) + b"\x01\x00\x00",
        "unknown": lambda: b"\x28\xb5\x2f\xfd\x00\x58" + b"\x01\x00\x00",
        "texts": lambda: bytes(numcodecs.zstd.Zstd().encode(struct.pack("<I", 2**32 - 1))),
        "bomb": lambda: bytes(numcodecs.zstd.Zstd().encode(bytes(2**28))),
        "one text": lambda: bytes(numcodecs.zstd.Zstd().encode(struct.pack("<II", 25, 2**31 - 1) + b"a" * 9)),
    }[kind]()
    path.write_bytes(content + struct.pack("<I", google_crc32c.value(content)))
    return f"{path.relative_to(store)} declares {kind}"


def objects(store: Path, rng: Rng) -> str:
    path, kind = (
        rng.choice(chunks(store)),
        rng.choice(["missing", "swapped", "added", "folder", "array added"]),
    )
    if kind == "missing":
        path.unlink()
    elif kind == "swapped":
        other = rng.choice(chunks(store))
        one, two = path.read_bytes(), other.read_bytes()
        path.write_bytes(two)
        other.write_bytes(one)
    elif kind == "added":
        path.with_name("7").write_bytes(b"x" * 99)
    elif kind == "folder":
        path.unlink()
        path.mkdir()
    else:
        shutil.copytree(store / "queries" / "rank", store / "signals" / "more")
        consolidate(store)
    return f"{path.relative_to(store)} {kind}"


CHANGES: Final[dict[str, Change]] = {
    "array metadata": array_metadata,
    "group metadata": group_metadata,
    "root attributes": root_attributes,
    "manifest": manifest_fields,
    "whole numbers": whole_numbers,
    "floats": floats,
    "texts": texts,
    "bytes of chunks": chunk_bytes,
    "declared sizes": declared_sizes,
    "objects": objects,
}


# What is run


def commands(store: Path, out: Path) -> list[tuple[str, list[str]]]:
    """The commands, in order; what one makes, later ones read."""
    plan = out / "plan.yaml"
    plan.write_text("analysis:\n  n_permutations: 99\n  n_bootstrap: 99\n")
    return [
        ("verify", ["store", "verify", str(store)]),
        ("info", ["store", "info", str(store)]),
        ("show", ["show", str(store), "France"]),
        ("analyze", ["analyze", str(store), "--plan", str(plan), "--out", str(out / "results"), "--quiet"]),
        ("pack", ["store", "pack", str(store), str(out / "p.zarr.zip")]),
        ("pull", ["store", "pull", store.as_uri(), str(out / "pulled.zarr")]),
        ("unpack", ["store", "unpack", str(out / "given.zarr.zip"), str(out / "unpacked.zarr")]),
        ("export", ["store", "export", str(store), str(out / "e.h5")]),
        ("import", ["store", "import", str(out / "e.h5"), str(out / "imported.zarr")]),
    ]


def zipped(store: Path, target: Path) -> None:
    """Pack a store without looking into it."""
    import zipfile

    with zipfile.ZipFile(target, "w") as archive_file:
        for path in sorted(p for p in store.rglob("*") if p.is_file()):
            archive_file.write(path, path.relative_to(store).as_posix())


def run_commands(store: Path, out: Path) -> dict[str, str]:
    """Run each command in this process; say how each ended that is not handled."""
    from typer.testing import CliRunner

    from qloc.cli import app

    zipped(store, out / "given.zarr.zip")
    bad = {}
    for name, arguments in commands(store, out):
        if name == "import" and not (out / "e.h5").exists():
            continue
        result = CliRunner().invoke(app, arguments, prog_name="qloc")
        error = result.exception
        if error is not None and not isinstance(error, SystemExit):
            frame = error.__traceback__
            while frame is not None and frame.tb_next is not None:
                frame = frame.tb_next
            where = f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}" if frame else ""
            bad[name] = f"{type(error).__name__}: {str(error)[:100]} ({where})"
        elif result.exit_code not in (0, 2, 3):
            bad[name] = f"exit {result.exit_code}: {result.output[-200:]}"
    return bad


def tried(store: Path, out: Path) -> tuple[dict[str, str], int]:
    """Run the commands in a forked process; return what was not handled, and the most memory in bytes."""
    reading, writing = os.pipe()
    if not (child := os.fork()):
        os.close(reading)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            try:
                resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS, MOST_SECONDS))
                bad = run_commands(store, out)
            except BaseException as error:
                bad = {"the harness": repr(error)}
        os.write(writing, json.dumps(bad).encode()[:60000])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as source:
        told = source.read()
    _, status, used = os.wait4(child, 0)
    memory = used.ru_maxrss * 1024
    bad = json.loads(told) if told else {"process": f"ended by {status}"}
    if memory > MOST_MEMORY:
        bad["memory"] = f"{memory / 1e9:.1f} GB"
    return bad, memory


def main() -> int:
    """Print, of each kind of change, how many stores were tried and handled; exit 1 where one was not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stores", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=CHANGES)
    parser.add_argument("--json", type=Path, help="append what was not handled, one line a store")
    given = parser.parse_args()
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    most, began = 0, time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base.zarr"
        shutil.unpack_archive(archive("causal"), base, "zip")
        for n in range(given.stores):
            rng = Rng(f"{given.seed} {n}")
            kind = given.only or list(CHANGES)[n % len(CHANGES)]
            out = Path(folder) / "out"
            store = out / "s.zarr"
            out.mkdir()
            shutil.copytree(base, store)
            said = _changed(store, kind, rng)
            bad, memory = tried(store, out)
            most = max(most, memory)
            counts[kind].update({"tried": 1, "handled": not bad})
            if bad:
                print(f"{n} {kind}, {said}: {bad}", file=sys.stderr, flush=True)
                if given.json:
                    with given.json.open("a") as lines:
                        lines.write(json.dumps({"n": n, "kind": kind, "change": said, "bad": bad}) + "\n")
            shutil.rmtree(out)
    print(f"{'kind':<20} {'tried':>6} {'handled':>8}")
    for kind, count in counts.items():
        print(f"{kind:<20} {count['tried']:>6} {count['handled']:>8}")
    total = sum((count for count in counts.values()), Counter())
    minutes = (time.monotonic() - began) / 60
    print(f"{'all':<20} {total['tried']:>6} {total['handled']:>8}")
    print(f"At most {most / 1e9:.2f} GB of memory; {minutes:.0f} minutes.")
    return int(total["handled"] < total["tried"])


def _changed(store: Path, kind: str, rng: Rng) -> str:
    """Change a store in a forked process, so that this one never starts zarr's threads; say what it did."""
    reading, writing = os.pipe()
    if not (child := os.fork()):
        try:
            said = CHANGES[kind](store, rng)
            seal(store)
        except Exception as error:
            said = f"not changed: {error!r}"
        os.write(writing, said.encode()[:2000])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as source:
        said = source.read().decode(errors="replace")
    os.waitpid(child, 0)
    return said


if __name__ == "__main__":
    sys.exit(main())
