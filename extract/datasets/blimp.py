"""BLiMP: pairs of sentences, of which only one is grammatical, read as minimal pairs.

The sets of the same layout, SLING and JBLiMP, are read too. Sentences are compared word by word, and those of
scripts without spaces character by character.

References
----------
Warstadt et al., "BLiMP: The Benchmark of Linguistic Minimal Pairs for English", TACL 2020.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from qloc.errors import InputError, message
from qloc.extract.datasets.blimp_agreement import feature_of, subject_of
from qloc.extract.datasets.blimp_layouts import in_blimp_layout, is_without_spaces
from qloc.extract.datasets.json_lines import Problems, json_lines
from qloc.extract.datasets.selection import require_relations, select
from qloc.facts import ANSWER_MARK, Fact, FactSet, Query

SEVERAL_PLACES: Final = "pair that differs in several places"
NO_LABEL: Final = "pair without a feature label (kept)"

_TEXTS: Final = ("sentence_good", "sentence_bad", "UID", "pairID")
_PUNCTUATION: Final = ".,;:!?"
_WORDS: Final = re.compile(r"[^\s.,;:!?](?:\S*[^\s.,;:!?])?|[.,;:!?]")
"""Matches a word, or one mark of punctuation behind a word."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The words that the two sentences of a pair share, and the words in which they differ.

    In scripts without spaces, what is said of words holds of characters.

    Attributes
    ----------
    prefix : str
        Words before the difference.
    good : str
        Words of the grammatical sentence.
    bad : str
        Words of the other sentence in their place.
    suffix : str
        Words after the difference, with a leading space unless punctuation comes first.
    gap : str, default " "
        What stands between ``prefix`` and the difference: a space, or nothing in scripts without spaces.
    """

    prefix: str
    good: str
    bad: str
    suffix: str
    gap: str = " "

    @property
    def text(self) -> str:
        """The sentence with [Y] in the place of the difference."""
        return f"{self.prefix}{self.gap}{ANSWER_MARK}{self.suffix}".strip()


def read_blimp(
    path: Path,
    *,
    source: str,
    relations: tuple[str, ...] = (),
    max_facts: int | None = None,
    seed: int = 0,
) -> FactSet:
    """Read the pairs of one BLiMP file, or of a folder of them; see :func:`qloc.extract.datasets.read_facts`.

    The paradigm (``UID``) serves as the relation. Pairs that differ in several places are counted and left
    out. Pairs whose feature cannot be told are counted and kept, with an empty feature.

    Parameters
    ----------
    path : Path
        A .jsonl file of BLiMP, or a folder with such files.
    source : str
        The input as the user named it, for messages and provenance.
    relations : tuple of str
        Relations to keep; all, if empty.
    max_facts : int or None
        Largest number of facts of each relation; all facts, if None.
    seed : int
        Seed of the sample of facts.

    Returns
    -------
    FactSet
        The facts, with duplicates merged and the sample drawn.

    Raises
    ------
    InputError
        If there are no such files, or for every problem of the files, each with its line.
    """
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    if not files:
        rule = "a folder with BLiMP's .jsonl files in it"
        raise InputError(message("BLiMP", str(path), rule, str(path.absolute()), "Check the path"))
    problems = Problems()
    entries = [entry for file in files for entry in _entries(file, problems)]
    _check_ids(entries, problems)
    problems.stop()
    require_relations(relations, dict.fromkeys(entry["UID"] for entry, _ in entries), source)
    selected = [entry for entry, _ in entries if not relations or entry["UID"] in relations]
    facts = [fact for fact in map(_fact, selected) if fact]
    fact_set = select(facts, source=source, skipped={}, max_facts=max_facts, seed=seed)
    counts = {
        SEVERAL_PLACES: len(selected) - len(facts),
        NO_LABEL: sum(not fact.feature for fact in fact_set.facts),
    }
    return replace(fact_set, skipped={reason: count for reason, count in counts.items() if count})


def frame(good: str, bad: str) -> Frame | None:
    """Return what two sentences share word by word, and the one place in which they differ.

    Parameters
    ----------
    good : str
        The grammatical sentence.
    bad : str
        The other sentence.

    Returns
    -------
    Frame or None
        None if the sentences differ in several places, or in words that only one of them has.

    Examples
    --------
    >>> frame("Tracy described herself.", "Tracy described himself.")
    Frame(prefix='Tracy described', good='herself', bad='himself', suffix='.', gap=' ')
    >>> frame("太郎が花子に会う。", "太郎が花子を会う。")
    Frame(prefix='太郎が花子', good='に', bad='を', suffix='会う。', gap='')
    >>> frame("Who did the man see?", "Who the man did see?") is None
    True
    """
    whole = is_without_spaces(good) and is_without_spaces(bad)
    split = list if whole else _WORDS.findall
    good_words, bad_words = split(good), split(bad)
    before = _shared(good_words, bad_words)
    after = _shared(good_words[before:][::-1], bad_words[before:][::-1])
    good_only, bad_only = (
        good_words[before : len(good_words) - after],
        bad_words[before : len(bad_words) - after],
    )
    if not good_only or not bad_only or set(good_only) & set(bad_only):
        return None
    suffix = good_words[len(good_words) - after :]
    if whole:
        parts = (good_words[:before], good_only, bad_only, suffix)
        prefix, good_part, bad_part, rest = ("".join(part) for part in parts)
        return Frame(prefix=prefix, good=good_part, bad=bad_part, suffix=rest, gap="")
    space = " " if suffix and suffix[0] not in _PUNCTUATION else ""
    return Frame(
        prefix=_sentence(good_words[:before]),
        good=_sentence(good_only),
        bad=_sentence(bad_only),
        suffix=space + _sentence(suffix),
    )


def _sentence(words: Sequence[str]) -> str:
    return "".join(word if word in _PUNCTUATION else f" {word}" for word in words).strip()


def _shared(first: Sequence[str], second: Sequence[str]) -> int:
    """Return how many words two sequences share from their start."""
    pairs = zip(first, second, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))


def _entries(file: Path, problems: Problems) -> list[tuple[dict[str, Any], str]]:
    entries = []
    for number, line in json_lines(file, problems):
        at, before, entry = f"{file}, line {number}", len(problems.found), in_blimp_layout(line)
        for key in _TEXTS:
            if key not in entry:
                problems.add("key", f"{key} missing", "an object as BLiMP has them", at, "Add it")
        for key in set(_TEXTS) & entry.keys():
            if not isinstance(entry[key], str) or not entry[key].strip():
                problems.add(key, entry[key], "text that is not empty", at, "Correct it")
        if not isinstance(entry.get("one_prefix_method", True), bool):
            problems.add("one_prefix_method", entry["one_prefix_method"], "true or false", at, "Correct it")
        if len(problems.found) == before:
            entries.append((entry, at))
    return entries


def _check_ids(entries: Sequence[tuple[Mapping[str, Any], str]], problems: Problems) -> None:
    places: dict[tuple[str, str], str] = {}
    for entry, at in entries:
        first = places.setdefault((entry["UID"], entry["pairID"]), at)
        if first != at:
            rule = f"one that {first} does not have"
            problems.add("pairID", entry["pairID"], rule, at, "Make them unique in their paradigm")


def _fact(entry: Mapping[str, Any]) -> Fact | None:
    shared = frame(entry["sentence_good"], entry["sentence_bad"])
    if shared is None:
        return None
    term, noun = str(entry.get("linguistics_term", "")), str(entry.get("two_prefix_word", ""))
    text = shared.text
    at_the_end = not any(character.isalnum() for character in shared.suffix) and bool(shared.prefix)
    return Fact(
        id=f"{entry['UID']}-{entry['pairID']}",
        relation=entry["UID"],
        subject=subject_of(term, shared.prefix, shared.suffix, noun) or shared.good,
        object=shared.good,
        queries=(Query(template=text, text=text),),
        kind="minimal_pair",
        bad=shared.bad,
        feature=feature_of(term, shared.prefix, shared.good, shared.bad),
        cue_in_prefix=entry.get("one_prefix_method", at_the_end),
    )
