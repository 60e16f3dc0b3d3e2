"""Read facts from qloc's own files, ParaRel, BLiMP, CounterFact, zsRE, the Hugging Face Hub or the package.

Every reader returns a :class:`qloc.facts.FactSet` and never loads torch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from qloc.errors import InputError, message
from qloc.extract.datasets.blimp import read_blimp
from qloc.extract.datasets.counterfact_zsre import counterfact, read_records, zsre
from qloc.extract.datasets.facts_csv import is_table, read_table
from qloc.extract.datasets.facts_jsonl import read_jsonl
from qloc.extract.datasets.huggingface import read_hub
from qloc.extract.datasets.pair_groups import group_pairs
from qloc.extract.datasets.pararel import read_pararel
from qloc.extract.datasets.pararel_entailments import read_entailed
from qloc.extract.datasets.permuted_facts import permuted_facts
from qloc.extract.datasets.selection import sample
from qloc.facts import FactSet
from qloc.plan import PairGroups
from qloc.vocabulary import PERMUTED

__all__ = ["read_facts"]

_READERS: Mapping[str, Callable[..., FactSet]] = {
    "pararel": read_pararel,
    "entailed": read_entailed,
    "blimp": read_blimp,
    "counterfact": partial(read_records, counterfact),
    "zsre": partial(read_records, zsre),
    "hf": read_hub,
}
_KNOWN = (
    "embedded, pararel:DIR, entailed:DIR, blimp:FILE_OR_DIR, counterfact:FILE, zsre:FILE, hf:NAME, "
    "a facts.jsonl or a facts.csv"
)


def read_facts(
    source: str,
    *,
    relations: tuple[str, ...] = (),
    max_facts: int | None = None,
    seed: int = 0,
    pairs: PairGroups = "single",
    pair_queries: int = 20,
) -> FactSet:
    """Read the facts that ``source`` names.

    Parameters
    ----------
    source : str
        ``embedded``, ``pararel:DIR``, ``entailed:DIR`` (facts of ParaRel that entail others),
        ``blimp:FILE_OR_DIR``, ``counterfact:FILE``, ``zsre:FILE``, ``hf:NAME``, or the path of a facts.jsonl
        or facts.csv. ``permuted:`` before any of them gives each fact another one's object.
    relations : tuple of str
        Relations to read; all, if empty.
    max_facts : int or None
        Largest number of facts of each relation; all facts, if None.
    seed : int
        Seed of the samples of facts and of sentences.
    pairs : {"feature", "cue", "item", "single"}
        What minimal pairs are grouped by; see :func:`qloc.extract.datasets.pair_groups.group_pairs`.
    pair_queries : int
        Largest number of sentences of a group of pairs.

    Returns
    -------
    FactSet
        The facts in input order; ``max_facts`` counts groups, not their sentences.

    Raises
    ------
    InputError
        If ``source`` names no known reader, or for every problem of the input, with its file and line.

    Examples
    --------
    >>> read_facts("mine:mine.json")
    Traceback (most recent call last):
    qloc.errors.InputError: facts is 'mine:mine.json'; expected embedded, pararel:DIR, entailed:DIR,
    blimp:FILE_OR_DIR, counterfact:FILE, zsre:FILE, hf:NAME, a facts.jsonl or a facts.csv. At --facts. Give
    one of these.
    """
    if source.startswith(PERMUTED):
        true = read_facts(
            source.removeprefix(PERMUTED),
            relations=relations,
            max_facts=max_facts,
            seed=seed,
            pairs=pairs,
            pair_queries=pair_queries,
        )
        return permuted_facts(true, source=source, seed=seed)
    if pairs != "single":
        whole = _read(source, relations, None, seed)
        grouped = group_pairs(whole, pairs, most=pair_queries, seed=seed)
        if max_facts is None:
            return grouped
        return replace(grouped, facts=tuple(sample(grouped.facts, max_facts, seed)))
    return _read(source, relations, max_facts, seed)


def _read(source: str, relations: tuple[str, ...], max_facts: int | None, seed: int) -> FactSet:
    prefix, _, place = source.partition(":")
    if source == "embedded":
        from qloc.extract.embedded import facts_path

        return read_jsonl(facts_path(), source=source, relations=relations, max_facts=max_facts, seed=seed)
    if prefix in _READERS and place:
        reader = _READERS[prefix]
        return reader(Path(place), source=source, relations=relations, max_facts=max_facts, seed=seed)
    if not source or (re.fullmatch("[a-z]{2,}:.*", source) and not Path(source).exists()):
        raise InputError(message("facts", source, _KNOWN, "--facts", "Give one of these"))
    reader = read_table if is_table(source) else read_jsonl
    return reader(Path(source), source=source, relations=relations, max_facts=max_facts, seed=seed)
