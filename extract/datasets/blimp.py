"""BLiMP: pairs of sentences of which grammar allows one, as minimal pairs.

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
from qloc.extract.datasets.json_lines import Problems, json_lines
from qloc.extract.datasets.selection import require_relations, select
from qloc.facts import ANSWER_MARK, Fact, FactSet, Query

SEVERAL_PLACES: Final = "pair that differs in several places"
NO_LABEL: Final = "pair without a feature label (kept)"

_TEXTS: Final = ("sentence_good", "sentence_bad", "UID", "pairID")
_PUNCTUATION: Final = ".,;:!?"
_WORDS: Final = re.compile(r"[^\s.,;:!?](?:\S*[^\s.,;:!?])?|[.,;:!?]")
"""Words, and each mark of punctuation behind one."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What the sentences of a pair share, and the words in which they differ."""

    prefix: str
    good: str
    bad: str
    suffix: str


def read_blimp(
    path: Path,
    *,
    source: str,
    relations: tuple[str, ...] = (),
    max_facts: int | None = None,
    seed: int = 0,
) -> FactSet:
    """The pairs of one BLiMP file or of a folder of them; see :func:`qloc.extract.datasets.read_facts`.

    The paradigm (``UID``) plays the relation's part. Pairs that differ in several places are counted and left
    out; pairs whose feature cannot be told are counted and kept, with an empty one.

    Raises
    ------
    InputError : no such files, or every problem of them, each with its line.
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
    asked = [entry for entry, _ in entries if not relations or entry["UID"] in relations]
    facts = [fact for fact in map(_fact, asked) if fact]
    found = select(facts, source=source, skipped={}, max_facts=max_facts, seed=seed)
    counts = {
        SEVERAL_PLACES: len(asked) - len(facts),
        NO_LABEL: sum(not fact.feature for fact in found.facts),
    }
    return replace(found, skipped={reason: count for reason, count in counts.items() if count})


def frame(good: str, bad: str) -> Frame | None:
    """What two sentences share word by word, and the one place where they differ; None if there are several.

    Examples
    --------
    >>> frame("Tracy described herself.", "Tracy described himself.")
    Frame(prefix='Tracy described', good='herself', bad='himself', suffix='.')
    >>> frame("Who did the man see?", "Who the man did see?") is None
    True
    """
    of_good, of_bad = _WORDS.findall(good), _WORDS.findall(bad)
    before = _shared(of_good, of_bad)
    after = _shared(of_good[before:][::-1], of_bad[before:][::-1])
    words, others = of_good[before : len(of_good) - after], of_bad[before : len(of_bad) - after]
    if not words or not others or set(words) & set(others):
        return None
    suffix = of_good[len(of_good) - after :]
    space = " " if suffix and suffix[0] not in _PUNCTUATION else ""
    return Frame(
        prefix=_sentence(of_good[:before]),
        good=_sentence(words),
        bad=_sentence(others),
        suffix=space + _sentence(suffix),
    )


def _sentence(words: Sequence[str]) -> str:
    return "".join(word if word in _PUNCTUATION else f" {word}" for word in words).strip()


def _shared(one: Sequence[str], other: Sequence[str]) -> int:
    """How many words two sequences share from their start."""
    pairs = zip(one, other, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _entries(file: Path, problems: Problems) -> list[tuple[dict[str, Any], str]]:
    found = []
    for number, entry in json_lines(file, problems):
        at, before = f"{file}, line {number}", len(problems.found)
        for key in (*_TEXTS, "one_prefix_method"):
            if key not in entry:
                problems.add("key", f"{key} missing", "an object as BLiMP has them", at, "Add it")
        for key in set(_TEXTS) & entry.keys():
            if not isinstance(entry[key], str) or not entry[key].strip():
                problems.add(key, entry[key], "text that is not empty", at, "Correct it")
        if not isinstance(entry.get("one_prefix_method", True), bool):
            problems.add("one_prefix_method", entry["one_prefix_method"], "true or false", at, "Correct it")
        if len(problems.found) == before:
            found.append((entry, at))
    return found


def _check_ids(entries: Sequence[tuple[Mapping[str, Any], str]], problems: Problems) -> None:
    places: dict[tuple[str, str], str] = {}
    for entry, at in entries:
        first = places.setdefault((entry["UID"], entry["pairID"]), at)
        if first != at:
            rule = f"one that {first} does not have"
            problems.add("pairID", entry["pairID"], rule, at, "Make them unique in their paradigm")


def _fact(entry: Mapping[str, Any]) -> Fact | None:
    found = frame(entry["sentence_good"], entry["sentence_bad"])
    if found is None:
        return None
    term, noun = str(entry.get("linguistics_term", "")), str(entry.get("two_prefix_word", ""))
    text = f"{found.prefix} {ANSWER_MARK}{found.suffix}".strip()
    return Fact(
        id=f"{entry['UID']}-{entry['pairID']}",
        relation=entry["UID"],
        subject=subject_of(term, found.prefix, found.suffix, noun) or found.good,
        object=found.good,
        queries=(Query(template=text, text=text),),
        kind="minimal_pair",
        bad=found.bad,
        feature=feature_of(term, found.prefix, found.good, found.bad),
        cue_in_prefix=entry["one_prefix_method"],
    )
