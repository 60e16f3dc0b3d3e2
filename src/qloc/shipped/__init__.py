"""The shipped extraction: packed stores of the embedded models, to see the demonstration without torch.

Real stores of a small plan, made by ``python -m qloc.shipped`` and compared with their manifests before
anything of them is written. Tests extract again and compare, so that they cannot grow stale in silence.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal, get_args

from qloc.errors import InputError, message
from qloc.phase_plan import EditPlan, RomePlan
from qloc.plan import Plan

Kind = Literal["causal", "masked"]
"""The two embedded models: GPT-2 type and BERT type."""

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
MOST_BYTES: Final = 2_000_000
"""Of all shipped stores together."""

_RELATIONS: Final = ("capital", "continent", "product", "determiner_noun")
"""Capitals have inverses, products synonyms, continents neither; the last are minimal pairs."""

_HERE: Final = Path(__file__).parent


def shipped_plan(kind: Kind) -> Plan:
    """Return the plan that was extracted: four facts of each of four relations, two of them edited.

    Panels are kept from the lowest threshold that the analysis asks for, not from 0.05: that halves them.
    Twenty fixed nodes are enough for these small models; error bounds would not fit into the 2 MB.
    ROME edits the first layer, where these models look facts up.

    Parameters
    ----------
    kind : Kind
        Which of the two models.

    Returns
    -------
    Plan
        The plan.

    Examples
    --------
    >>> shipped_plan("causal").floor <= min(shipped_plan("causal").analysis.thresholds)
    True
    """
    return Plan(
        model=f"embedded:{kind}",
        facts="embedded",
        relations=_RELATIONS,
        max_facts=4,
        quadrature="midpoint",
        floor=0.1,
        capacity=1024,
        edits=EditPlan(max_facts=2, n_probes=4, pairs=False, rome=RomePlan(layer=0.0, prefixes=2, steps=12)),
    )


def archive(kind: Kind) -> Path:
    """Find the packed store of one model; every command that reads stores reads it in place.

    Parameters
    ----------
    kind : Kind
        Which of the two models.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        Another kind, or the file is not there.

    Examples
    --------
    >>> archive("causal").name
    'causal.zarr.zip'
    """
    if kind not in KINDS:
        rule, action = " or ".join(KINDS), f"Use {KINDS[0]!r}"
        raise InputError(message("shipped extraction", kind, rule, "qloc.shipped", action))
    path = _HERE / f"{kind}.zarr.zip"
    if not path.is_file():
        action = "Install qloc again; in a clone with qloc[extract], run: make shipped"
        raise InputError(message("shipped extraction", "missing", "a packed store", str(path), action))
    return path


def place(kind: Kind, out: Path) -> None:
    """Put a shipped store at ``out``, verified; does nothing where it is there already.

    Parameters
    ----------
    kind : Kind
        Which of the two models.
    out : Path
        Where the store is to be.

    Raises
    ------
    InputError
        Something else is at ``out``.
    FingerprintError
        If it is a store of another extraction.
    VerificationError
        The archive is not what its manifest says, or the store there has no valid one.
    StorageError
        The disk refused; nothing is left.
    """
    from qloc.store.exchange.pack import unpack
    from qloc.store.integrity.check import is_store, layout_of
    from qloc.store.schema import manifest
    from qloc.store.writing.skeleton import refuse_other_parameters

    packed = archive(kind)
    if not is_store(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        unpack(packed, out)
        return
    refuse_other_parameters(out, layout_of(packed), fingerprint(packed))
    manifest.read(out)


def fingerprint(packed: Path) -> dict[str, Any]:
    """Return what the fingerprint of a shipped store's signals is made from.

    Parameters
    ----------
    packed : Path
        The file.

    Returns
    -------
    dict of str to Any
        Nested, JSON only.
    """
    from qloc.store.integrity.check import root_attributes

    made_from: dict[str, Any] = root_attributes(packed)["fingerprint"]["signals"]["made_from"]
    return made_from
