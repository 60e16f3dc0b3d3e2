"""Exploration: facts of a study with their queries and neurons, as plain data that a page can be searched in.

The analysis makes it, a result's folder keeps it as ``explorer.json`` beside ``study.json``, and the report
shows it. Values are rounded where they are made, so the file is small and equal results give equal bytes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from qloc.errors import InputError, message
from qloc.exploration.explored_facts import (
    ExploredFact,
    ExploredQuery,
    as_tuples,
    fact_of_row,
    names_of,
    row_of,
)
from qloc.text.files import write_text
from qloc.text.ordinary_files import read_ordinary
from qloc.text.parsing import json_of

FILE: Final = "explorer.json"
"""Name of the file that :meth:`Exploration.save` writes."""

FORMAT_VERSION: Final = 4
"""1: first form; 2: with tokens of neurons; 3: minimal pairs apart from facts; 4: synapses suppressed."""


@dataclass(frozen=True, kw_only=True)
class Exploration:
    """Facts of one study to look through.

    Attributes
    ----------
    title : str
        As the result's.
    n_layers, n_neurons : int
        Layers, and neurons of a layer.
    rule : str
        How knowledge neurons are selected, such as ``ig, threshold 0.2``.
    cut : float
        CS2 below which a fact counts as inconsistent.
    n_facts : int
        Facts of the study that can be explored; more than are here where some were drawn. Files of
        formats 1 and 2 have groups of minimal pairs among them.
    choice : str
        Which facts are here, in a sentence.
    scores : tuple of str
        Names of the scores.
    templates : tuple of str
        Names of the templates.
    arms : tuple of str
        Operation and neuron set of each intervention.
    edits : tuple of str
        Operation and neuron set of each edit.
    shared : tuple of (int, int)
        Neuron, and how many of all ``n_facts`` have it in the set of a known query; those of the facts here.
    facts : tuple of ExploredFact
        In the study's order; groups of minimal pairs are among them, and have the form of a fact.
    words : tuple of str
        Texts of tokens.
    tokens : tuple of (int, tuple of int, tuple of int)
        Neuron, and the places among ``words`` of the tokens that it promotes and suppresses most; those of
        the facts here, and empty where the store has none.
    n_pairs : int
        Groups of minimal pairs of the study that can be explored.
    shared_by_pairs : tuple of (int, int)
        Neuron, and how many of all ``n_pairs`` have it in the set of a known query.
    pairs : tuple of str
        Ids of the groups of minimal pairs among ``facts``.
    """

    title: str
    n_layers: int
    n_neurons: int
    rule: str
    cut: float
    n_facts: int
    choice: str
    scores: tuple[str, ...]
    templates: tuple[str, ...]
    arms: tuple[str, ...]
    edits: tuple[str, ...]
    shared: tuple[tuple[int, int], ...]
    facts: tuple[ExploredFact, ...]
    words: tuple[str, ...] = ()
    tokens: tuple[tuple[int, tuple[int, ...], tuple[int, ...]], ...] = ()
    n_pairs: int = 0
    shared_by_pairs: tuple[tuple[int, int], ...] = ()
    pairs: tuple[str, ...] = ()

    def rows(self) -> dict[str, Any]:
        """Return the exploration as JSON: facts and queries as lists, in the order of their attributes.

        Returns
        -------
        dict
            The attributes; ``format``, and under ``fact`` and ``query`` the names of what the lists hold.
        """
        own = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "facts"}
        names = {"fact": names_of(ExploredFact), "query": names_of(ExploredQuery)}
        return {"format": FORMAT_VERSION, **own, **names, "facts": [row_of(fact) for fact in self.facts]}

    def text(self) -> str:
        """Return the JSON of :meth:`rows` in one line, the same bytes for the same exploration.

        Returns
        -------
        str
            Without spaces.
        """
        return json.dumps(self.rows(), ensure_ascii=False, allow_nan=False, separators=(",", ":"))

    def save(self, folder: Path) -> Path:
        """Write ``explorer.json`` into a folder, completely or not at all.

        Parameters
        ----------
        folder : Path
            Made if missing.

        Returns
        -------
        Path
            The file.
        """
        return write_text(self.text() + "\n", folder / FILE, "exploration")


def load(folder: Path) -> Exploration | None:
    """Read the exploration that :meth:`Exploration.save` wrote.

    Parameters
    ----------
    folder : Path
        Folder of a result.

    Returns
    -------
    Exploration or None
        None where the folder has none, as those of older versions and of comparisons.

    Raises
    ------
    InputError
        The file cannot be read, or has another format.
    """
    path = folder / FILE
    try:
        content = json_of(read_ordinary(path))
        if content.pop("format") not in range(1, FORMAT_VERSION + 1):
            raise ValueError
        of_fact, of_query = content.pop("fact"), content.pop("query")
        facts = tuple(fact_of_row(row, of_fact, of_query) for row in content["facts"])
        return Exploration(**{**as_tuples(content), "facts": facts})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        rule = f"{FILE} of format {FORMAT_VERSION}, as `qloc analyze` writes it"
        raise InputError(
            message("exploration", str(folder), rule, str(path), "Run `qloc analyze` again")
        ) from None
