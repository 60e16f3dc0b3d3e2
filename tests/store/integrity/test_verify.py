"""verify: whatever byte, file or name changes, it is found, and said where."""

import os
import random
import shutil
from pathlib import Path

import pytest
from synthetic import FINGERPRINT

from qloc.canonical_json import canonical, file_digest
from qloc.errors import SchemaError, VerificationError
from qloc.store.integrity.verify import require_present, verify
from qloc.store.schema import manifest
from qloc.store.writing.writer import Writer

ACTION = "Run qloc store repair on the store."


def test_unchanged_store_has_no_problems(finished):
    assert verify(finished) == []
    require_present(finished)


def flip(path, position, bit=0):
    content = bytearray(path.read_bytes())
    content[position] ^= 1 << bit
    path.write_bytes(content)


def changes(whole, rng):
    """One flipped bit at a seeded place, one byte less, one byte more, the object gone."""
    flipped = bytearray(whole)
    flipped[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
    return bytes(flipped), whole[:-1], whole + b"\0", None


def write(path, content):
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)


def test_flipped_truncated_and_missing_objects_are_found_each(copy):
    """Each object alone, changed in one of four ways in turn; then all objects at once, in each of the ways."""
    rng = random.Random(0)
    names = sorted(manifest.objects(copy))
    assert len(names) > 80
    whole = {name: (copy / name).read_bytes() for name in names}
    changed = {name: changes(content, rng) for name, content in whole.items()}
    for number, name in enumerate(names):
        write(copy / name, changed[name][number % 4])
        problems = verify(copy)
        assert len(problems) == 1, (name, number % 4)
        assert f" At {copy / name}. {ACTION}" in problems[0]
        write(copy / name, whole[name])
    for kind in range(4):
        for name in names:
            write(copy / name, changed[name][kind])
        problems = verify(copy)
        assert len(problems) == len(names)
        for name, problem in zip(names, problems, strict=True):
            assert f" At {copy / name}. {ACTION}" in problem
        for name in names:
            write(copy / name, whole[name])
    assert verify(copy) == []


@pytest.mark.parametrize("share", [0, 0.1, 0.25, 0.5, 0.75, 0.9, 1])
def test_a_bit_at_any_place_of_every_object_at_once_is_found(copy, share):
    """First byte, last byte and between: as many problems as objects, each naming its own."""
    names = list(manifest.objects(copy))
    for number, name in enumerate(names):
        path = copy / name
        flip(path, round(share * (path.stat().st_size - 1)), bit=number % 8)
    problems = verify(copy)
    assert len(problems) == len(names)
    for name, problem in zip(sorted(names), problems, strict=True):
        assert f" At {copy / name}. {ACTION}" in problem


def test_every_object_swapped_with_the_next_is_found(copy):
    names = list(manifest.objects(copy))
    whole = [(copy / name).read_bytes() for name in names]
    others = whole[1:] + whole[:1]
    for name, other in zip(names, others, strict=True):
        (copy / name).write_bytes(other)
    swapped = sum(own != other for own, other in zip(whole, others, strict=True))
    assert swapped > len(names) - 10  # some are equal: the facts of the queries, and of the signals
    assert len(verify(copy)) == swapped


def test_bytes_all_over_one_object_count(copy):
    path = copy / "signals/panel_neuron/c/0/0"
    for position in range(0, path.stat().st_size, 17):
        flip(path, position)
        assert len(verify(copy)) == 1
        flip(path, position)


def test_bytes_all_over_the_manifest_count(copy):
    path = copy / "manifest.json"
    whole = path.read_bytes()
    for position in [*range(0, len(whole), 311), *range(len(whole) - 80, len(whole))]:
        flip(path, position, bit=position % 8)
        with pytest.raises(VerificationError):
            manifest.read(copy)
        path.write_bytes(whole)
    for cut in (0, 1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        assert len(verify(copy)) == 1


def test_swapped_objects_are_found_both(copy):
    names = ["signals/activation/c/0/0", "signals/gradient/c/0/0"]
    for name, other in zip(names, reversed(names), strict=True):
        shutil.copy(copy / name, copy / f"{other}.new")
    for name in names:
        os.replace(copy / f"{name}.new", copy / name)
    problems = verify(copy)
    assert [p.split(" is ")[0] for p in problems] == [
        "array signals/activation, queries 0 to 15 (units 0 to 3)",
        "array signals/gradient, queries 0 to 15 (units 0 to 3)",
    ]


def test_messages_name_array_rows_units_and_object(copy):
    said = manifest.read(copy)["objects"]
    chunk, gram = copy / "signals/attribution/c/1/0/0", copy / "grams/gram/c/0/0/0/0"
    flip(chunk, 3)
    gram.unlink()
    (copy / "queries/rank/zarr.json").write_bytes(b"{}")
    (copy / "queries/rank/c/9").write_bytes(b"more")
    os.symlink("/etc/hostname", copy / "facts/link")
    assert verify(copy) == [
        f"object is 'extra'; expected only objects of the manifest. At {copy}/facts/link. "
        "Remove it: it is no part of the store.",
        "array grams/gram, facts 0 to 9 (units 0 to 3) is 'missing'; "
        f"expected {said['grams/gram/c/0/0/0/0']['size']} "
        f"bytes. At {gram}. {ACTION}",
        f"object is 'extra'; expected only objects of the manifest. At {copy}/queries/rank/c/9. "
        "Remove it: it is no part of the store.",
        f"metadata of queries/rank is '2 bytes'; expected {said['queries/rank/zarr.json']['size']} bytes. "
        f"At {copy}/queries/rank/zarr.json. {ACTION}",
        "array signals/attribution, queries 0 to 15 (units 0 to 3) is "
        f"'sha256 {file_digest(chunk)}'; expected sha256 {said['signals/attribution/c/1/0/0']['sha256']}. "
        f"At {chunk}. {ACTION}",
    ]


def test_object_replaced_by_a_link_to_the_same_bytes_is_found(copy, tmp_path):
    path = copy / "queries/rank/c/0"
    shutil.move(path, tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert verify(copy)[0].startswith(
        "array queries/rank, queries 0 to 15 (units 0 to 3) is 'no ordinary file'"
    )


def test_manifest_must_be_canonical_bytes(copy):
    path = copy / "manifest.json"
    path.write_bytes(path.read_bytes() + b"\n")
    size, digest = path.stat().st_size, file_digest(path)
    assert verify(copy) == [
        f"manifest is '{size} bytes with sha256 {digest}'; expected canonical JSON. At {path}. "
        "Take the store from its source again."
    ]


def test_manifest_must_have_its_own_digest(copy):
    found = manifest.read(copy)
    own = found["sha256"]
    found["sha256"] = "0" * 64
    (copy / "manifest.json").write_bytes(canonical(found))
    assert verify(copy) == [
        f"sha256 of the manifest is '{own}'; expected {'0' * 64}, as it says itself. "
        f"At {copy}/manifest.json. "
        "Take the store from its source again."
    ]


def test_unfinished_store_does_not_verify(tmp_path, study):
    with Writer.open(tmp_path / "s.zarr", study.outline(), FINGERPRINT):
        assert verify(tmp_path / "s.zarr") == [
            "manifest is 'No such file or directory'; "
            "expected a readable file, the last that an extraction writes. "
            f"At {tmp_path}/s.zarr/manifest.json. Run the extraction again to complete the store."
        ]


def test_what_an_interrupted_clearing_up_leaves_is_told(copy):
    (copy / "ledger").mkdir()
    (copy / "ledger" / "lock").touch()
    assert verify(copy) == [
        f"object is 'extra'; expected only objects of the manifest. At {copy}/ledger/lock. "
        "Run the extraction once more, which removes what it has left, or remove it."
    ]


def test_what_is_no_store_cannot_be_verified(tmp_path):
    with pytest.raises(SchemaError):
        verify(tmp_path)


@pytest.fixture
def own(phased, tmp_path):
    """Return a store with both phases of the test's own."""
    return Path(shutil.copytree(phased, tmp_path / "s.zarr"))


@pytest.mark.parametrize("group", ["interventions", "synapses", "edits", "statistics", "neurons"])
def test_any_flipped_bit_is_found(own, group):
    chunks = sorted(path for path in (own / group).rglob("*") if path.is_file())
    for path in chunks[:: max(1, len(chunks) // 4)]:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 4
        path.write_bytes(content)
        (problem,) = verify(own)
        assert f"{group}/" in problem
        content[len(content) // 2] ^= 4
        path.write_bytes(content)
    assert verify(own) == []


def test_problem_names_array_and_units(own):
    (own / "edits/probe_kl/c/0/0/0/0").unlink()
    (problem,) = verify(own)
    assert problem.startswith("array edits/probe_kl, facts 0 to 9 (units 0 to 3) is 'missing'; expected ")


def test_linked_folder_of_work_is_no_part_of_a_store(copy, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (copy / "appending").symlink_to(tmp_path / "elsewhere")
    (problem,) = verify(copy)
    assert problem.startswith("object is 'extra'; ")
