"""Other inputs from strangers: unit files of unfinished stores, HDF5 files, and texts of every kind.

Each change takes what it changes and a seeded generator, and says what it did.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from _hostile_changes import Change, Rng, with_odd_value

from qloc.canonical_json import canonical, digest, file_digest
from qloc.store.units import ledger

# Unit files, with a record that fits


def _members(unit: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(unit) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def _npy(values: Any) -> bytes:
    target = io.BytesIO()
    np.lib.format.write_array(target, np.asanyarray(values), allow_pickle=True)
    return target.getvalue()


def _zip(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return target.getvalue()


def _recorded(store: Path, record: ledger.UnitRecord, content: bytes, **other: Any) -> None:
    """Put other bytes in the place of a unit, with a record that fits; other fields as they are given."""
    (store / "units" / record.file).unlink()
    file = store / "units" / f"unit-{record.number:06d}-{'0' * 16}.npz"
    file.write_bytes(content)
    fitting = replace(record, file=file.name, sha256=file_digest(file), size=len(content))
    path = next((store / "ledger").glob(f"unit-{record.number:06d}.json"))
    said = {**asdict(fitting), **other}
    path.write_bytes(canonical({**said, "record_sha256": digest(said)}))


def _a_unit(store: Path, rng: Rng) -> ledger.UnitRecord:
    return rng.choice(list(ledger.records(store)))


def unit_arrays(store: Path, rng: Rng) -> str:
    """Another dtype, another shape, objects, or a header that lies, in one array of a unit."""
    record = _a_unit(store, rng)
    members = _members(store / "units" / record.file)
    name = rng.choice(sorted(members))
    values = np.load(io.BytesIO(members[name]))
    kind = rng.choice(["dtype", "shape", "longer", "objects", "header", "void", "order", "missing", "added"])
    made: dict[str, Callable[[], bytes]] = {
        "dtype": lambda: _npy(values.astype(rng.choice(["f8", "i8", "u1", "f2", "c16", "U4", "M8[s]", "?"]))),
        "shape": lambda: _npy(values.reshape(-1)),
        "longer": lambda: _npy(np.concatenate([np.atleast_1d(values)] * 2)),
        "objects": lambda: _npy(np.array([{"a": 1}, None], dtype=object)),
        "header": lambda: members[name].replace(b"(", b"(9", 1),
        "void": lambda: _npy(np.zeros(3, dtype=[("a", "i4"), ("b", "O")])),
        "order": lambda: _npy(values.astype(values.dtype.newbyteorder(">"), order="F")),
        "added": lambda: members[name],
    }
    if kind == "missing":
        del members[name]
    else:
        members["../../x.npy" if kind == "added" else name] = made[kind]()
    _recorded(store, record, _zip(members))
    return f"unit {record.number}, {name}: {kind}"


def unit_values(store: Path, rng: Rng) -> str:
    """Values out of their domain, and texts that are none, in one array of a unit."""
    record = _a_unit(store, rng)
    members = _members(store / "units" / record.file)
    name = rng.choice(sorted(members))
    values = np.load(io.BytesIO(members[name])).copy()
    if values.dtype == np.uint8:  # a column of texts, as JSON
        said = rng.choice(["[" * 10**5, "[1,2]", '{"a":1}', "[null]", '["' + "a" * 10**6 + '"]', "9" * 5000])
        members[name] = _npy(np.frombuffer(said.encode(), dtype=np.uint8))
    else:
        said = rng.choice(["nan", "inf", "-2", "2147483647", "-2147483648"])
        hit = np.random.default_rng(rng.randrange(99)).random(values.shape) < rng.choice([0.1, 1.0])
        if values.dtype.kind == "f":
            values[hit] = float(said)
        else:
            bounds = np.iinfo(values.dtype)
            values[hit] = min(
                max(int(float(said)) if said.lstrip("-").isdigit() else -7, bounds.min), bounds.max
            )
        members[name] = _npy(values)
    _recorded(store, record, _zip(members))
    return f"unit {record.number}, {name}: {said[:20]}"


_OTHER_RECORDS: Final[dict[str, dict[str, list[Any]]]] = {
    "number": {"number": [-1, 999, 2**62, "1"]},
    "slots": {"n_slots": [-1, 0, 10**6, 2**62, 1.5]},
    "file": {"file": ["../../x", "/etc/passwd", "", ".", "lock"]},
    "notes": {"notes": [[], {"a": {"b": [[[]]]}}, {"": "\x1b[31m"}, "x"]},
    "odd": {"size": [None, -1, "x", []]},
    "more": {"more": [None, 1]},
    "digest": {"sha256": [None, "", "x" * 64]},
}
"""What a record may say in place of what is so."""


def unit_files(store: Path, rng: Rng) -> str:
    """Zip files that are cut, compressed, doubled or none; records that say something else."""
    record = _a_unit(store, rng)
    content = (store / "units" / record.file).read_bytes()
    members = _members(store / "units" / record.file)
    kind = rng.choice(["cut", "empty", "noise", "compressed", "flipped", "bomb", *_OTHER_RECORDS])
    flipped, other = bytearray(content), _OTHER_RECORDS.get(kind, {})
    other = {name: rng.choice(values) for name, values in other.items()}
    flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
    bomb = {**members, "signals/attribution.npy": _npy(np.zeros(2**25))}
    changed = {
        "cut": content[: rng.randrange(len(content))], "empty": b"", "noise": rng.randbytes(999),
        "compressed": _zip(members, zipfile.ZIP_DEFLATED), "flipped": bytes(flipped),
        "bomb": _zip(bomb, zipfile.ZIP_DEFLATED) if kind == "bomb" else b"",
    }.get(kind, content)  # fmt: skip
    _recorded(store, record, changed, **other)
    return f"unit {record.number}: {kind} {other or ''}"


UNITS: Final[dict[str, Change]] = {
    "arrays of units": unit_arrays,
    "values of units": unit_values,
    "files of units": unit_files,
}

# HDF5 files, which an export began as


def _datasets(opened: Any) -> list[str]:
    return [f"{group}/{name}" for group in opened for name in opened[group]]


def hdf5_attributes(file: Path, rng: Rng) -> str:
    """Attributes of root, groups and arrays: odd values inside their JSON, and others in their place."""
    with h5py.File(file, "r+") as opened:
        at = rng.choice(["/", *opened, *_datasets(opened)])
        name = rng.choice(sorted(opened[at].attrs))
        value = opened[at].attrs[name]
        with contextlib.suppress(ValueError, TypeError):
            document = json.loads(value)
            said = with_odd_value(document, rng) if isinstance(document, dict | list) and document else ""
            if said and rng.random() < 0.7:
                opened[at].attrs[name] = json.dumps(document)
                return f"{at}: {name}: {said}"
        del opened[at].attrs[name]
        odd = rng.choice([None, "x", "[" * 10**5, "9" * 5000, 1.5, [1, 2], b"\xff", np.zeros(9), "\x1b[31m"])
        if odd is not None:
            opened[at].attrs[name] = odd
        return f"{at}: {name} = {str(odd)[:20]}"


def hdf5_arrays(file: Path, rng: Rng) -> str:
    """Arrays of another dtype, shape or filter, emptied or missing."""
    with h5py.File(file, "r+") as opened:
        name = rng.choice(_datasets(opened))
        kind = rng.choice(
            ["dtype", "shape", "huge", "missing", "filters", "scalar", "empty", "values", "group"]
        )
        old, attributes = opened[name], dict(opened[name].attrs)
        shape, values, labels = old.shape, old[...], [dim.label for dim in old.dims]
        if kind == "values":
            if values.dtype.kind in "if" and values.size:
                old[...] = np.full(shape, rng.choice([-7, 99, 127]), dtype=values.dtype)
            return f"{name}: {kind}"
        del opened[name]
        if kind == "missing":
            return f"{name}: {kind}"
        if kind == "group":
            opened.create_group(name)
            return f"{name}: {kind}"
        dtype = rng.choice(["f8", "i1", ">i8", "c16", "S9", h5py.ref_dtype, h5py.vlen_dtype("i4"), "V3"])
        made: dict[str, Any] = {
            "dtype": {"shape": shape, "dtype": dtype},
            "shape": {"shape": (*shape, 2), "dtype": "f4" if values.dtype == object else values.dtype},
            "huge": {"shape": (2**31, *shape[1:]), "dtype": "f4", "chunks": True},
            "filters": {"shape": shape or (1,), "dtype": "f4", "compression": "lzf"},
            "scalar": {"shape": (), "dtype": "f4"},
            "empty": {"data": h5py.Empty("f4")},
        }[kind]
        new = opened.create_dataset(name, **made)
        for key, value in attributes.items():
            with contextlib.suppress(TypeError, OSError):
                if key not in ("DIMENSION_LIST", "REFERENCE_LIST", "CLASS", "NAME"):
                    new.attrs[key] = value
        for axis, label in enumerate(labels[: len(new.shape or ())]):
            new.dims[axis].label = label
        return f"{name}: {kind}"


def hdf5_links(file: Path, rng: Rng) -> str:
    """Links in the place of groups and arrays: soft, external, dangling, in circles."""
    with h5py.File(file, "r+") as opened:
        at = rng.choice([*opened, *_datasets(opened)])
        kind = rng.choice(["soft", "circle", "external", "dangling", "root", "hard"])
        del opened[at]
        opened[at] = {
            "soft": h5py.SoftLink("/queries"), "circle": h5py.SoftLink(f"/{at}"),
            "external": h5py.ExternalLink("/etc/passwd", "/x"), "dangling": h5py.SoftLink("/none"),
            "root": opened["/"], "hard": opened[next(name for name in opened if name != at.split("/")[0])],
        }[kind]  # fmt: skip
        return f"{at}: {kind}"


def hdf5_bytes(file: Path, rng: Rng) -> str:
    """Flipped bits anywhere, and files that are cut."""
    content, kind = bytearray(file.read_bytes()), rng.choice(["flipped", "many flipped", "cut", "head"])
    if kind == "cut":
        del content[rng.randrange(len(content)) :]
    for _ in range({"flipped": 1, "many flipped": 50, "head": 3}.get(kind, 0)):
        content[rng.randrange(4096 if kind == "head" else len(content))] ^= 1 << rng.randrange(8)
    file.write_bytes(content)
    return kind


HDF5: Final[dict[str, Change]] = {
    "attributes of HDF5": hdf5_attributes,
    "arrays of HDF5": hdf5_arrays,
    "links of HDF5": hdf5_links,
    "bytes of HDF5": hdf5_bytes,
}

# Texts

_LAUGHS: Final = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefghi", "bcdefghij", strict=True)
)
"""Nine levels of ten aliases each: a billion values in a few lines."""

_TEXTS: Final[dict[str, bytes]] = {
    "deep": b"[" * 200_000,
    "deep and closed": b"[" * 5_000 + b"]" * 5_000,
    "deep mappings": b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    "deep by indents": b"".join(b" " * n + b"a:\n" for n in range(500)),
    "laughs": _LAUGHS.encode(),
    "contains itself": b"a: &a [*a]",
    "digits": b'{"a": ' + b"9" * 5_000 + b"}",
    "empty": b"",
    "NUL": b"\0" * 99,
    "no UTF-8": b"\xff\xfe\xfa{",
    "half a character": b'{"a": "\\ud800"}',
    "NaN": b'{"a": NaN}',
    "a list": b"[1, 2]",
    "a number": b"7",
    "tags": b"a: !!python/object/apply:os.system ['false']",
    "odd tags": b"!!timestamp x",
    "twice": b'{"a": 1, "a": 2}',
    "escapes": b'{"\\u001b[31m": "\\u202e"}',
    "tabs": b"a:\n\t- b",
    "zip": b"PK\x03\x04" + bytes(99),
}
_SPECIAL: Final = ("a pipe", "/dev/zero", "a link to itself", "a folder", "gigabytes", "a socket")


def special(path: Path, rng: Rng) -> str:
    """Put something in the place of a file that is none, or that is none to be read."""
    import socket

    kind = rng.choice(_SPECIAL)
    path.unlink(missing_ok=True)
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "/dev/zero":
        path.symlink_to("/dev/zero")
    elif kind == "a link to itself":
        path.symlink_to(path.name)
    elif kind == "a folder":
        path.mkdir()
    elif kind == "gigabytes":
        with path.open("wb") as file:
            file.truncate(2**36)
    else:
        here = os.getcwd()
        os.chdir(path.parent)  # the name of a socket may not be long
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
        os.chdir(here)
    return kind


def text(path: Path, rng: Rng) -> str:
    """Put another text in the place of a file, or a few odd values into the one that is there."""
    content = path.read_bytes() if path.exists() else b""
    if content and rng.random() < 0.5:
        with contextlib.suppress(ValueError, IndexError):  # no JSON, or nothing left to change
            lines = content.splitlines() if path.suffix == ".jsonl" else [content]
            at = rng.randrange(len(lines))
            document = json.loads(lines[at])
            said = " and ".join(with_odd_value(document, rng) for _ in range(rng.choice([1, 1, 3])))
            lines[at] = json.dumps(document).encode()
            path.write_bytes(b"\n".join(lines))
            return said
    kind = rng.choice([*_TEXTS, "cut", "noise"])
    noise = rng.randbytes(200)
    path.write_bytes({**_TEXTS, "cut": content[: len(content) // 2], "noise": noise}[kind])
    return kind
