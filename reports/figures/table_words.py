"""Columns and cells of tables in the words that readers know."""

from __future__ import annotations

from typing import Final

from qloc.analysis.results import Cell, Table
from qloc.reports.published import SCORES, tagged

_WORDS: Final = {
    "kappa": "κ", "kappa_same_answer": "κ, same answer", "dice": "D", "d0": "D₀", **SCORES,
    "ki": "K_I", "k0": "k₀", "hedges_g": "Hedges' g", "p_adjusted": "adjusted p", "otsu": "Otsu",
    "minimal_pair": "minimal pair",
}  # fmt: skip

NAMES: Final = {
    "cas": "CAS", "cas_no_penalty": "CAS, β₂ = 0", "cas_top": "CAS, top b", "own_top": "own, top b",
    "union_top": "union, top b", "own_minus_neighbor": "own − neighbor",
    "neighbor_minus_own": "neighbor − own", "own_minus_reprompt": "own − re-prompt",
    "reprompt_minus_own": "re-prompt − own", "reprompt": "re-prompt", "other_fact": "other fact",
    "random_columns": "random columns", "other_heads": "other heads",
    "suppress_renormalized": "suppress, renormalized", "enhance_renormalized": "enhance, renormalized",
    "update_signed": "update, signed", "in_context": "in context", "rome": "ROME",
    "rome_identity": "ROME, C = I", "rome_as_coded": "ROME as coded",
    "rome_traced": "ROME at tracing's layer",
}  # fmt: skip
"""Operations and sets of neurons and synapses, in words; those that are not here are words already."""
_NAMING: Final = ("operation", "change", "neuron_set", "synapse_set", "synapses", "set", "control")
"""Columns of the names above: elsewhere such a word may be somebody's data."""


def word(cell: Cell, column: str = "") -> Cell:
    """Write a cell as readers know it.

    Parameters
    ----------
    cell : Cell
        Of a table.
    column : str, default ""
        The column that it stands in.

    Returns
    -------
    Cell
        A score's symbol for its name; operations, sets of neurons and contrasts of sets in words where the
        column holds those; anything else as it is.

    Examples
    --------
    >>> word("kappa"), word("own_minus_neighbor", "neuron_set"), word("rome", "subject")
    ('κ', 'own − neighbor', 'rome')
    >>> word("cas less other_fact", "contrast")
    'CAS less other fact'
    """
    if not isinstance(cell, str):
        return cell
    if column == "contrast":
        return " less ".join(NAMES.get(name, name) for name in cell.split(" less "))
    return NAMES.get(cell, cell) if column in _NAMING else _WORDS.get(cell, cell)


def heading(table: Table, name: str) -> str:
    """Say what a column holds.

    Parameters
    ----------
    table : Table
        With its labels.
    name : str
        Of the column.

    Returns
    -------
    str
        Its label, a score's symbol, or its name without underscores.
    """
    base, _, end = name.rpartition("_")
    if end in ("low", "high") and base in table.columns and name not in table.labels:
        return f"{heading(table, base)}, {end}"
    return tagged(table.labels.get(name) or _WORDS.get(name) or name.replace("_", " "), name)
