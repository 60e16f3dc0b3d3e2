"""Where results go: never into a store, and never over the results of another study."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal

from qloc.errors import InputError, StorageError, message
from qloc.exploration.exploration import FILE as EXPLORATION
from qloc.text.ordinary_files import read_ordinary
from qloc.text.parsing import json_of

Kind = Literal["analysis", "comparison", "reproduction"]
"""What a folder of results is of: one store, several compared, or a published study's tables."""

_FINGERPRINT: Final = "store fingerprint"
"""How the names of fingerprints begin in a result's provenance."""


def refuse_folder(folder: str | Path, kind: Kind, stores: Sequence[str | Path], published: str = "") -> None:
    """Refuse a folder that results must not be written into.

    Parameters
    ----------
    folder : str or Path
        What was given as ``--out``.
    kind : {"analysis", "comparison", "reproduction"}
        What is to be written.
    stores : sequence of str or Path
        What it is made from.
    published : str, default ""
        Of a reproduction: the study whose tables are made, such as ``chen``.

    Raises
    ------
    InputError
        It is a file, it is a store or lies in one, or it has results of something else.
    SchemaError
        One of ``stores`` is no store.
    """
    path = Path(folder)
    _refuse_store(path)
    held = _held(path)
    if held is None:
        return
    theirs, fingerprints = held
    ours = sorted(_fingerprint(store) for store in stores)
    what = f"{kind} of {published}" if published else kind
    if (theirs, fingerprints) != (what, ours):
        got = f"{'an' if theirs == 'analysis' else 'a'} {theirs} from {_stores(fingerprints)}"
        rule = f"nothing yet, or the {what} from {_stores(ours)}"
        action = "Give another --out, or remove that folder first"
        raise InputError(message("results", got, rule, str(path), action))


def refuse_parent(folder: str | Path) -> None:
    """Refuse a folder for the results of several stores that is a file, a store, or lies in one.

    Parameters
    ----------
    folder : str or Path
        What was given as ``--out``.

    Raises
    ------
    InputError
        It is one of these.
    """
    _refuse_store(Path(folder))


def _refuse_store(path: Path) -> None:
    from qloc.store.integrity.check import is_store

    action = "Give another --out, such as results"
    if path.is_file():
        raise InputError(message("results", "a file", "a folder, or nothing yet", str(path), action))
    for place in (path.resolve(), *path.resolve().parents):
        if is_store(place):
            got = "a store" if place == path.resolve() else f"in the store {place}"
            raise InputError(message("results", got, "a folder outside of every store", str(path), action))


def _held(path: Path) -> tuple[str, list[str]] | None:
    """What the results in a folder are, and fingerprints of their stores; None where there are none."""
    from qloc.analysis.results import FILE

    if not (path / FILE).exists():
        return None
    try:
        content: dict[str, Any] = json_of(read_ordinary(path / FILE))
        provenance = content["provenance"]
        questions = [question["id"] for question in content["questions"]]
        fingerprints = sorted(text for name, text in provenance.items() if name.startswith(_FINGERPRINT))
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        rule, action = "results that qloc wrote, or no such file", "Give another --out"
        raise InputError(message(FILE, "another program's", rule, str(path), action)) from None
    if _FINGERPRINT in provenance:
        return "analysis", fingerprints
    if "settings" not in questions:
        return "comparison", fingerprints
    studies = {name.partition("_")[0] for name in questions if name != "settings"}  # of chen_ratio: chen
    return (f"reproduction of {', '.join(sorted(studies))}", fingerprints) if studies else None


def _fingerprint(store: str | Path) -> str:
    from qloc.store.integrity.check import root_attributes
    from qloc.store.places.open_place import place_of

    return str(root_attributes(place_of(store))["fingerprint"]["signals"]["digest"])


def _stores(fingerprints: Sequence[str]) -> str:
    return f"the store{'s' if len(fingerprints) > 1 else ''} {', '.join(text[:12] for text in fingerprints)}"


def forget(folder: str | Path) -> None:
    """Remove a result that is none of the stores any more: its file, and the folder where it is empty then.

    Parameters
    ----------
    folder : str or Path
        Of an earlier result; need not be there.

    Raises
    ------
    StorageError
        The disk refused.
    """
    from qloc.analysis.results import FILE

    try:
        for name in (FILE, EXPLORATION):
            Path(folder, name).unlink(missing_ok=True)
        with suppress(OSError):  # not there, or something else is in it
            Path(folder).rmdir()
    except OSError as error:
        rule, action = "a file that can be removed", "Remove it, or choose another --out"
        reason = error.strerror or str(error)
        raise StorageError(message("old results", str(folder), rule, reason, action)) from error
