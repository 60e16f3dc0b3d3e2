"""export and import: HDF5 there and back, bit for bit."""

import json
import resource
import shutil
import sys
from hashlib import sha256
from pathlib import Path

import forked
import h5py
import numpy as np
import pytest
import xarray as xr
import zarr
from synthetic import FINGERPRINT, Synthetic, WithColumn, write_store

from qloc.errors import InputError, SchemaError, StorageError, VerificationError
from qloc.store.exchange.hdf5 import export, import_hdf5, pieces
from qloc.store.exchange.pack import pack
from qloc.store.integrity.verify import verify
from qloc.store.reading.open_store import open_store
from qloc.store.schema import manifest
from qloc.store.writing.writer import Writer

AGAIN = "Export it again from its store."


@pytest.fixture(scope="module")
def exported(finished, tmp_path_factory):
    return export(finished, tmp_path_factory.mktemp("exported") / "s.h5")


@pytest.fixture
def file(exported, tmp_path):
    """Return an HDF5 file of the test's own."""
    return Path(shutil.copy(exported, tmp_path / "s.h5"))


def test_round_trip_gives_the_same_bytes(finished, exported, tmp_path):
    made = import_hdf5(exported, tmp_path / "back.zarr")
    assert (made / "manifest.json").read_bytes() == (finished / "manifest.json").read_bytes()
    assert verify(made) == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["back.zarr"]


def test_a_column_that_is_called_as_the_folders_of_chunks(tmp_path):
    store = write_store(tmp_path / "s.zarr", WithColumn(n_facts=4, column="c"))
    made = import_hdf5(export(store, tmp_path / "s.h5"), tmp_path / "back.zarr")
    assert (made / "manifest.json").read_bytes() == (store / "manifest.json").read_bytes()


@pytest.mark.parametrize(
    ("study", "options"),
    [
        (Synthetic(n_facts=0), {}),
        (Synthetic(n_facts=4, n_heads=0), {"tier": "dense", "store_dtype": "float64"}),
    ],
    ids=["no facts", "dense"],
)
def test_round_trip_of_other_stores_cut_finely_and_packed(tmp_path, monkeypatch, study, options):
    monkeypatch.setattr("qloc.store.schema.zarr_arrays.CHUNK_BYTES", 600)
    monkeypatch.setattr("qloc.store.schema.zarr_arrays.SHARD_BYTES", 2000)
    store = write_store(tmp_path / "s.zarr", study, **options)
    made = import_hdf5(export(pack(store), tmp_path / "s.h5"), tmp_path / "back.zarr")
    assert (made / "manifest.json").read_bytes() == (store / "manifest.json").read_bytes()


@pytest.mark.parametrize("room", [0, 100, 3_000, 20_000, 60_000, -1])
def test_a_full_disk_is_one_error_and_leaves_nothing(finished, exported, tmp_path, room, capfd):
    """Once it ended the process, after hundreds of lines of HDF5's own."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = exported.stat().st_size
    assert size > 60_000
    resource.setrlimit(resource.RLIMIT_FSIZE, (room if room >= 0 else size + room, hard))
    try:
        with pytest.raises(
            StorageError, match=r"^writing is 'File too large'; expected a disk that takes it\."
        ):
            export(finished, tmp_path / "s.h5")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_h5py_alone_reads_it(finished, exported):
    program = """
import json, sys, h5py, numpy as np, zarr
with h5py.File(sys.argv[1]) as f:
    root = zarr.open_group(sys.argv[2], mode="r")
    n = 0
    for name, group in root.groups():
        for key, array in group.arrays():
            there = f[name][key] if (name, key) != ("signals", "fact") else f[name]["_nc4_non_coord_fact"]
            values = there.asstr()[()] if array.dtype.kind == "T" else there[()]
            expected = array[...]
            assert (values == expected).all() or np.array_equal(values, expected, equal_nan=True), key
            dims = [d[0].name.rsplit("/", 1)[1] if len(d) else key for d in there.dims]
            assert dims == list(array.metadata.to_dict()["dimension_names"]), (key, dims)
            assert there.attrs["long_name"] == array.attrs["long_name"]
            n += 1
    assert n == 59 and f["signals"]["slot"].is_scale
    assert f.attrs["site"] == "mlp_post" and json.loads(f.attrs["model"]) == {"id": "synthetic"}
    assert json.loads(f.attrs["qloc_manifest"])["schema_version"] == 1
    assert json.loads(f["facts"].attrs["candidates"])["P36"] == ["Paris", "Lima"]
assert "qloc" not in sys.modules
"""
    done = forked.run(
        [sys.executable, "-W", "error", "-c", program, exported, finished], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_xarray_reads_it_by_h5netcdf(finished, exported):
    for group in ("facts", "queries", "signals", "attention", "grams", "statistics", "neurons"):
        got = xr.open_dataset(exported, engine="h5netcdf", group=group).load()
        whole = xr.open_zarr(finished, group=group, consolidated=False).load()
        for name, variable in whole.variables.items():
            assert got[name].dims == variable.dims
            ours, theirs = (values.to_numpy().astype(object).astype(str) for values in (got[name], variable))
            np.testing.assert_array_equal(ours, theirs)


def test_only_complete_stores_are_exported_and_nothing_is_overwritten(finished, tmp_path, study, exported):
    with Writer.open(tmp_path / "half.zarr", study.outline(), FINGERPRINT):
        pass
    with pytest.raises(VerificationError, match=r"^manifest is 'No such file or directory'"):
        export(tmp_path / "half.zarr", tmp_path / "s.h5")
    for made in (lambda: export(finished, tmp_path), lambda: import_hdf5(exported, tmp_path)):
        with pytest.raises(InputError, match=r"^path is 'there already'; expected nothing yet\. At "):
            made()


def test_text_that_hdf5_cannot_keep(tmp_path):
    class Nul(Synthetic):
        def _queries(self, unit, rng):
            made = super()._queries(unit, rng)
            return {**made, "prompt": np.array(["a\0b"] * len(made["prompt"]), dtype=object)}

    store = write_store(tmp_path / "s.zarr", Nul(n_facts=2))
    with pytest.raises(InputError) as caught:
        export(store, tmp_path / "s.h5")
    assert str(caught.value) == (
        "a text of queries/prompt is 'VLEN strings do not support embedded NULLs'; expected texts without "
        f"NUL, which HDF5 cannot keep. At file://{store}/queries/prompt. Share the store with qloc store pack."
    )
    assert [p.name for p in tmp_path.iterdir()] == ["s.zarr"]


def test_full_disk_leaves_nothing(finished, exported, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    for made in (lambda: export(finished, tmp_path / "a"), lambda: import_hdf5(exported, tmp_path / "b")):
        with pytest.raises(StorageError, match=r"^writing is 'No space left on device'"):
            made()
    assert list(tmp_path.iterdir()) == []


def refused(file, out):
    with pytest.raises(VerificationError) as caught:
        import_hdf5(file, out)
    assert not out.exists()
    assert not list(out.parent.glob(".*"))
    return caught.value.problems


def test_changed_values_are_named(file, tmp_path):
    with h5py.File(file, "r+") as f:
        f["queries/rank"][0] += 1
        f["facts/subject"][1] = "Elsewhere"
    problems = refused(file, tmp_path / "out")
    assert [p.split(" is ")[0] for p in problems] == ["array facts/subject", "array queries/rank"]
    assert problems[0].endswith(f". At {file}. {AGAIN}")


def test_hostile_files_are_refused_with_every_problem(file, tmp_path):
    with h5py.File(file, "r+") as f:
        f["facts"]["soft"] = h5py.SoftLink("/queries/rank")
        f["facts"]["external"] = h5py.ExternalLink("/etc/passwd", "/x")
        f["elsewhere"] = h5py.ExternalLink("/etc/passwd", "/x")
        f["facts"]["zarr.json"] = np.zeros(1)
        f["facts"]["inner"] = f.create_group("more")
        del f["more"]
        f["facts"]["compound"] = np.zeros(2, dtype=[("a", "i4")])
        f["facts"]["pickle"] = np.zeros(2, dtype="V9")
        f["facts"]["plain"] = np.zeros(2)
        f["facts"].create_dataset("raw", shape=(9,), dtype="u1", external=[("/etc/passwd", 0, 9)])
        f["facts"].create_dataset("huge", shape=(2**30, 2**20), chunks=(1, 2**10), dtype="f8")
        f["grams"].attrs["qloc_attributes"] = "{"
    assert refused(file, tmp_path / "out") == tuple(
        f"{text}. At {file}. {AGAIN}"
        for text in (
            "attributes of grams is 'no JSON'; expected those of a store",
            "object 'elsewhere' is 'no group of its own'; expected a group",
            "object 'facts/compound' is \"of dtype [('a', '<i4')]\"; expected an array as qloc writes it",
            "object 'facts/external' is 'a link, or an odd name'; expected an array",
            "object 'facts/huge' is 'of shape (1073741824, 1048576) in 0 bytes'; expected an array as qloc "
            "writes it",
            "object 'facts/inner' is 'no array'; expected an array",
            "object 'facts/pickle' is 'of dtype |V9'; expected an array as qloc writes it",
            "object 'facts/plain' is 'without dims or qloc_sha256'; expected an array as qloc writes it",
            "object 'facts/raw' is 'in another file'; expected an array as qloc writes it",
            "object 'facts/soft' is 'a link, or an odd name'; expected an array",
            "object 'facts/zarr.json' is 'a link, or an odd name'; expected an array",
        )
    )


def test_arrays_taken_away(file, tmp_path):
    with h5py.File(file, "r+") as f:
        del f["queries/rank"]
    out = tmp_path / "out"
    assert refused(file, out) == (
        f"array queries/rank is 'missing'; expected an array of the schema. At {out}. "
        "Take the store from its source again.",
    )


def test_what_is_no_export(tmp_path):
    (tmp_path / "s.h5").write_bytes(b"no")
    with pytest.raises(SchemaError, match=r"; expected an HDF5 file that qloc store export wrote\. At "):
        import_hdf5(tmp_path / "s.h5", tmp_path / "out")
    with h5py.File(tmp_path / "t.h5", "w"):
        pass
    with pytest.raises(SchemaError) as caught:
        import_hdf5(tmp_path / "t.h5", tmp_path / "out")
    assert str(caught.value) == (
        'HDF5 file is "another program\'s"; expected root attributes qloc_attributes, qloc_manifest. '
        f"At {tmp_path}/t.h5. Give one of a store."
    )


def test_pieces_are_in_c_order():
    shape = (2, 5, 3)
    values = np.arange(30).reshape(shape)
    joined = [values[piece].reshape(-1) for piece in pieces(shape, (1, 2, 3))]
    assert np.concatenate(joined).tolist() == list(range(30))
    assert list(pieces((0, 3), (1, 3))) == []
    assert zarr.zeros(()).shape == ()


def test_phases_are_exported_and_imported(phased, tmp_path):
    exported = export(phased, tmp_path / "s.h5")
    made = import_hdf5(exported, tmp_path / "h.zarr")
    assert (made / "manifest.json").read_bytes() == (phased / "manifest.json").read_bytes()
    read = xr.open_dataset(exported, engine="h5netcdf", group="edits").load()
    edits = open_store(phased).edits
    assert edits is not None
    np.testing.assert_array_equal(read["greedy_token_id"], edits["greedy_token_id"])
    assert read["edit_set"].values.tolist() == ["own", "union", "cas"]


@pytest.mark.parametrize("content", [b"noise", b"(\xb5/\xfd\xe0" + bytes(11)])
def test_a_strangers_store_that_verifies_and_cannot_be_read(copy, tmp_path, content):
    """Chunks that are none, with digests that fit: one error in the house form, and nothing left."""
    (copy / "queries/rank/c/0").write_bytes(content)
    listed = json.loads((copy / "manifest.json").read_bytes())
    listed["objects"]["queries/rank/c/0"] = {"sha256": sha256(content).hexdigest(), "size": len(content)}
    manifest.replace(copy, {name: value for name, value in listed.items() if name != "sha256"})
    assert verify(copy) == []
    with pytest.raises(
        VerificationError, match=r"^array queries/rank is .unreadable \(.*; expected what qloc wrote\. At "
    ):
        export(copy, tmp_path / "e.h5")
    assert [path.name for path in tmp_path.iterdir()] == [copy.name]


def test_a_file_cut_short_is_told(exported, tmp_path):
    """Anywhere: by libhdf5 when it is opened, or when an array is read."""
    whole = exported.read_bytes()
    for share in (0.02, 0.3, 0.6, 0.95):
        (tmp_path / "cut.h5").write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises((SchemaError, VerificationError), match=rf"At {tmp_path}/cut\.h5\. "):
            import_hdf5(tmp_path / "cut.h5", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["cut.h5"]


def test_damaged_values_are_told(file, tmp_path):
    """A flipped byte of a filtered chunk, which its checksum tells: libhdf5 raises an OSError of its own."""
    with h5py.File(file) as opened:
        chunk = opened["signals/attribution"].id.get_chunk_info(0)
    content = bytearray(file.read_bytes())
    content[chunk.byte_offset + chunk.size // 2] ^= 1
    file.write_bytes(content)
    (problem,) = refused(file, tmp_path / "out")
    assert problem.startswith('HDF5 file is "unreadable (OSError: ')
    assert problem.endswith(f"; expected one that qloc store export wrote. At {file}. {AGAIN}")


def test_attributes_of_another_form_are_told(file, tmp_path):
    """The layout reads, and the card cannot be written of what describes the study."""
    with h5py.File(file, "r+") as f:
        attributes = json.loads(f.attrs["qloc_attributes"])
        attributes["fingerprint"] = {"signals": {"digest": "x", "made_from": {}}, "": []}
        f.attrs["qloc_attributes"] = json.dumps(attributes)
    with pytest.raises((SchemaError, VerificationError)) as caught:
        import_hdf5(file, tmp_path / "out")
    assert " is 'another form'; expected " in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["s.h5"]


@pytest.mark.parametrize("held", ["x", np.int64(2**62), np.arange(2), np.array([b"query", b"x"])])
def test_names_of_dimensions_that_are_none_are_never_pointers(file, tmp_path, held):
    """libhdf5 takes them for pointers, whatever they are, and frees them."""
    with h5py.File(file, "r+") as f:
        f["queries/rank"].attrs["DIMENSION_LABELS"] = held
    assert refused(file, tmp_path / "out") == (
        f"object 'queries/rank' is 'without dims or qloc_sha256'; expected an array as qloc writes it. "
        f"At {file}. {AGAIN}",
    )
