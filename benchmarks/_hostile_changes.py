"""How complete stores are changed: each change takes a seeded generator, and says what it did."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import struct
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import google_crc32c
import numcodecs.zstd
import numpy as np

from qloc.canonical_json import canonical

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
    parts = {"layout", "fingerprint", "phases"} & set(
        root["attributes"]
    )  # what is planted has no phases of a plan
    part = rng.choice([*sorted(parts), "layout", None])
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
    "statistics/n_queries", "neurons/promoted_token_id", "neurons/suppressed_token_id",
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
