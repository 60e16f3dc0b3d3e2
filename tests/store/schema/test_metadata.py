"""A stranger's metadata: what qloc writes passes, and everything else is named before it is read."""

import dataclasses
import json

import pytest

from qloc.block import Unit
from qloc.store.files.place import Folder
from qloc.store.schema import metadata
from qloc.store.schema.layout import Layout

ACTION = "Do not use this store; take it from its source again."
ARRAY = {
    "node_type": "array",
    "zarr_format": 3,
    "shape": [4, 6],
    "data_type": "float32",
    "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [4, 6]}},
    "codecs": [{"name": "bytes"}, {"name": "zstd", "configuration": {"level": 0}}],
}
DTYPES = "int8, int16, int32, int64, uint8, uint16, uint32, uint64, float16, float32, float64, bool, string"


class Consolidated(Folder):
    """A place whose arrays' metadata are read from the root, as those of a URL are."""

    consolidated = True


@pytest.fixture
def problems_of(tmp_path):
    """Return a function from the content of ``x/zarr.json`` to what is wrong with it."""

    def problems(content):
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        (tmp_path / "x").mkdir(exist_ok=True)
        (tmp_path / "x/zarr.json").write_bytes(raw)
        return [
            text.replace(f" At {tmp_path}/x/zarr.json. {ACTION}", "")
            for text in metadata.problems(Folder(tmp_path))
        ]

    return problems


def test_what_qloc_writes_passes(phased):
    assert metadata.problems(Folder(phased)) == []
    assert metadata.problems(Consolidated(phased)) == []


def test_an_array_as_it_should_be(problems_of):
    assert problems_of(ARRAY) == []
    assert problems_of({"node_type": "group", "zarr_format": 3}) == []


@pytest.mark.parametrize("dtype", ["object", "r8", "complex64", "S9", {"name": "numpy.datetime64"}, None, 7])
def test_other_dtypes(problems_of, dtype):
    assert problems_of({**ARRAY, "data_type": dtype}) == [
        f"dtype of x is {dtype!r}; expected one of {DTYPES}."
    ]


def test_more_than_there_can_be(problems_of):
    limit = "expected axes of at most 2147483647, 281474976710656 bytes in all."
    for shape in ([2**31, 6], [2**31 - 1, 2**16]):
        expected = f"shape of x is {tuple(shape)}; {limit}"
        assert problems_of({**ARRAY, "shape": shape}) == [expected]
    assert problems_of({**ARRAY, "shape": [2**30, 2**16]}) == []  # 2**48 bytes, just so


def test_chunks_that_fill_memory_or_do_not_fit(problems_of):
    def chunked(*chunk):
        return {**ARRAY, "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunk)}}}

    assert problems_of(chunked(2**14, 2**14)) == []  # 2**30 bytes, just so
    for chunk in ((2**14, 2**14 + 1), (4,), (4, 6, 1)):
        expected = f"chunk of x is {chunk}; expected 2 axes, at most 1073741824 bytes."
        assert problems_of(chunked(*chunk)) == [expected]
    for grid in ({**ARRAY["chunk_grid"], "name": "rectilinear"}, {**ARRAY["chunk_grid"], "name": "odd"}):  # type: ignore[dict-item]  # a dict
        assert problems_of({**ARRAY, "chunk_grid": grid}) == [
            f"chunks of x is {grid['name']!r}; expected a regular grid."
        ]
    assert problems_of({**ARRAY, "storage_transformers": [{}]}) == [
        "chunks of x is 'regular'; expected a regular grid."
    ]


def test_codecs_within_codecs(problems_of):
    expected = ["codec of x is 'pickle'; expected one of bytes, vlen-utf8, zstd, crc32c, sharding_indexed."]
    assert problems_of({**ARRAY, "codecs": [{"name": "pickle"}]}) == expected
    for name in ("codecs", "index_codecs"):
        inner = {"name": "sharding_indexed", "configuration": {name: [{"name": "bytes"}, {"name": "pickle"}]}}
        assert problems_of({**ARRAY, "codecs": [inner]}) == expected


@pytest.mark.parametrize("shape", [[-1, 6], [1.0, 6], [True, 6], "46", None])
def test_what_is_no_shape(problems_of, shape):
    assert problems_of({**ARRAY, "shape": shape}) == [
        f"metadata of x is 'ValueError: {shape!r} is no shape'; expected an array's as qloc writes it."
        if not isinstance(shape, str)
        else "metadata of x is \"ValueError: '46' is no shape\"; expected an array's as qloc writes it."
    ]


@pytest.mark.parametrize("key", ["shape", "data_type", "chunk_grid", "codecs"])
def test_a_key_that_is_missing(problems_of, key):
    content = {name: value for name, value in ARRAY.items() if name != key}
    (text,) = problems_of(content)
    assert text == f"metadata of x is \"KeyError: '{key}'\"; expected an array's as qloc writes it."


@pytest.mark.parametrize(
    "content", [[], 7, {"node_type": "link", "zarr_format": 3}, {**ARRAY, "zarr_format": 2}]
)
def test_what_is_no_node(problems_of, content):
    kind = content["node_type"] if isinstance(content, dict) else None
    assert problems_of(content) == [f"metadata of x is {kind!r}; expected a group or an array of Zarr v3."]


def test_what_is_no_json_and_what_is_nested_too_deep(problems_of):
    for raw in (b"{", b"\xff", b"[" * 100_000):
        (text,) = problems_of(raw)
        assert text.startswith("metadata of x is ")
        assert text.endswith("; expected JSON that can be read.")


def test_consolidated_metadata_are_looked_through_too(tmp_path):
    bad = {**ARRAY, "data_type": "object"}
    root = {
        "node_type": "group",
        "zarr_format": 3,
        "consolidated_metadata": {"metadata": {"g/x": bad, "y": ARRAY}},
    }
    (tmp_path / "zarr.json").write_text(json.dumps(root))
    (tmp_path / "x").mkdir()
    (tmp_path / "x/zarr.json").write_text("{")
    at = f" At {tmp_path}/zarr.json. {ACTION}"
    expected = [f"dtype of g/x (consolidated) is 'object'; expected one of {DTYPES}.{at}"]
    assert metadata.problems(Consolidated(tmp_path)) == expected
    found = metadata.problems(Folder(tmp_path))
    assert [text for text in found if "(consolidated)" in text] == expected
    assert len(found) == 2


def test_units_part_facts_and_queries(study):
    layout = Layout.of(study.outline(), tier="panel", floor=0.05, capacity=9, store_dtype="float32")
    assert metadata.layout_problems(layout, "s") == []
    expected = [
        f"units is 'with gaps or overlaps'; expected runs that part the facts and queries. At s. {ACTION}"
    ]
    first, *rest = layout.units
    overlapping = Unit(number=0, first_fact=0, last_fact=4, first_query=0, last_query=first.last_query)
    for units in (rest, (overlapping, *rest), layout.units[:-1], ()):
        assert metadata.layout_problems(dataclasses.replace(layout, units=tuple(units)), "s") == expected


@pytest.mark.parametrize("size", [-1, 2**31])
def test_sizes_that_no_axis_has(study, size):
    layout = Layout.of(study.outline(), tier="panel", floor=0.05, capacity=9, store_dtype="float32")
    changed = dataclasses.replace(layout, sizes={**layout.sizes, "layer": size})
    assert metadata.layout_problems(changed, "s") == [
        f"size of layer is {size}; expected from 0 to 2147483647. At s. {ACTION}"
    ]
