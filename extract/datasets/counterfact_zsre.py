"""CounterFact and zsRE: the facts of editing benchmarks, from ROME's JSON files.

CounterFact asks each fact with a prompt of its relation and two paraphrases; zsRE asks it with a question and
a rephrasing of the question. ROME's prompts end where the answer starts, so ``[Y]`` is put at their end. The
subject is replaced by ``[X]``, so that prompts of one form share a template. The new object that an edit
should insert is kept as the attribute ``target_new``. zsRE names no relations: facts that are asked by the
same form of question share one.

Edits are evaluated as ROME's are: on CounterFact's neighborhood prompts, whose answer is the fact's own, and
on zsRE's unrelated question (``loc``, behind which ROME's code puts a question mark). Text is generated
behind CounterFact's generation prompts.

References
----------
Meng et al. 2022 (arXiv 2202.05262), §3.3 (CounterFact) and app. C (zsRE, after Levy et al. 2017).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from qloc.extract.datasets.facts_jsonl import facts_of
from qloc.extract.datasets.json_lines import Problems, read_bytes
from qloc.extract.datasets.selection import select
from qloc.facts import ANSWER_MARK, SUBJECT_MARK, FactSet
from qloc.text.parsing import json_of

Entries = Iterator[dict[str, Any]]
"""Facts in the form of lines of facts.jsonl."""

Form = Callable[[Mapping[str, Any], int], Entries]
"""Function of a record and its number, from 1, that returns the facts of the record."""


def read_records(
    form: Form,
    path: Path,
    *,
    source: str,
    relations: tuple[str, ...] = (),
    max_facts: int | None = None,
    seed: int = 0,
) -> FactSet:
    """Read one of ROME's JSON files; see :func:`qloc.extract.datasets.read_facts`.

    Parameters
    ----------
    form : callable
        :func:`counterfact` or :func:`zsre`, the form of the file's records.
    path : Path
        The file.
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
        For every problem of the file, each with its record.
    """
    problems = Problems()
    records = [
        (f"{path}, record {number}", record)
        for number, record in enumerate(_records(path, problems), start=1)
    ]
    facts = facts_of(entries_of(records, form, problems), problems)
    problems.stop()
    return select(facts, source=source, skipped={}, relations=relations, max_facts=max_facts, seed=seed)


def counterfact(record: Mapping[str, Any], number: int) -> Entries:
    """Iterate over the fact of one CounterFact record.

    A record of another form raises KeyError, TypeError or AttributeError.

    Parameters
    ----------
    record : mapping
        One object of the file.
    number : int
        Number of the record, from 1; used as the id if the record has none.

    Yields
    ------
    dict
        The fact, in the form of a line of facts.jsonl.

    Examples
    --------
    >>> rewrite = {"prompt": "{} is in", "relation_id": "P30", "subject": "Vinson Massif",
    ...            "target_true": {"str": "Antarctica"}, "target_new": {"str": "Europe"}}
    >>> (fact,) = counterfact({"case_id": 7, "requested_rewrite": rewrite, "paraphrase_prompts": []}, 1)
    >>> fact["id"], fact["queries"]
    ('7', ['[X] is in [Y]'])
    """
    rewrite = record["requested_rewrite"]
    subject = rewrite["subject"].strip()
    prompts = [rewrite["prompt"].replace("{}", subject), *record.get("paraphrase_prompts", ())]
    yield {
        "id": str(record.get("case_id", number)),
        "relation": rewrite["relation_id"],
        "subject": subject,
        "object": rewrite["target_true"]["str"].strip(),
        "queries": [_query(prompt, subject) for prompt in prompts],
        "attributes": {"target_new": rewrite["target_new"]["str"].strip()},
        **_evaluated(record.get("neighborhood_prompts", ()), rewrite["target_true"]["str"]),
        **_generated(record.get("generation_prompts", ())),
    }


def zsre(record: Mapping[str, Any], number: int) -> Entries:
    """Iterate over the facts of one zsRE record, one for each of its answers.

    A record of another form raises KeyError, TypeError, AttributeError or IndexError.

    Parameters
    ----------
    record : mapping
        One object of the file.
    number : int
        Number of the record, from 1; used as the id of its facts.

    Yields
    ------
    dict
        A fact, in the form of a line of facts.jsonl.
    """
    subject = record["subject"].strip()
    queries = [_query(prompt, subject) for prompt in (record["src"], record["rephrase"]) if prompt.strip()]
    answers, loc = [answer.strip() for answer in record["answers"]], record.get("loc", "")
    for index, answer in enumerate(answers):
        yield {
            "id": f"{number}" if len(answers) == 1 else f"{number}-{index + 1}",
            "relation": queries[0].removesuffix(f" {ANSWER_MARK}"),
            "subject": subject,
            "object": answer,
            "queries": queries,
            "attributes": {"target_new": record["alt"].strip()},
            **_evaluated([f"{loc.strip()}?"] if loc.strip() else (), record.get("loc_ans", "")),
        }


def _evaluated(prompts: Iterable[str], answer: str) -> dict[str, Any]:
    """Return the prompts that an edit should leave alone; nothing where there are none."""
    queries = [f"{prompt.strip()} {ANSWER_MARK}" for prompt in prompts if prompt.strip()]
    found = [{"answer": answer.strip(), "queries": queries}] if queries and answer.strip() else []
    return {"neighborhood": found} if found else {}


def _generated(prompts: Iterable[str]) -> dict[str, Any]:
    texts = [prompt.strip() for prompt in prompts if prompt.strip()]
    return {"generation": texts} if texts else {}


def _query(prompt: str, subject: str) -> str:
    """Return a prompt as a query; the subject within a longer word ("Iran" in "Iranian") stays as it is."""
    text = prompt.strip()

    def marked(found: re.Match[str]) -> str:
        beside = text[found.start() - 1 : found.start()] + text[found.end() : found.end() + 1]
        return subject if any(map(_goes_on, beside)) else SUBJECT_MARK

    return f"{re.sub(re.escape(subject), marked, text)} {ANSWER_MARK}"


def _goes_on(character: str) -> bool:
    """Whether a word goes on with a character: letters of scripts with spaces, marks and digits do."""
    category = unicodedata.category(character)
    return category in ("Lu", "Ll", "Lt", "Nd") or category.startswith("M")


def entries_of(
    records: Sequence[tuple[str, Any]],
    form: Form,
    problems: Problems,
) -> list[tuple[str, dict[str, Any]]]:
    """Return the facts of some records, in the form of lines of facts.jsonl.

    Parameters
    ----------
    records : sequence of (str, object)
        Place of each record, for messages; and the record.
    form : callable
        :func:`counterfact` or :func:`zsre`.
    problems : Problems
        Receives an entry for each record of another form.

    Returns
    -------
    list of (str, dict)
        Place of each fact's record, and the fact.
    """
    entries, rule = [], "as ROME's files have it"
    for number, (at, record) in enumerate(records, start=1):
        try:
            entries += [(at, entry) for entry in form(record, number)]
        except KeyError as error:
            problems.add("record", f"without {error.args[0]}", rule, at, "Add it")
        except (TypeError, AttributeError, IndexError):
            problems.add("record", record, rule, at, "Correct it")
    return entries


def _records(path: Path, problems: Problems) -> list[Any]:
    try:
        records = json_of(read_bytes(path))
    except ValueError as error:
        problems.add("file", f"{error}", "JSON, encoded as UTF-8", str(path), "Give another file")
        return []
    if not isinstance(records, list) or not records:
        problems.add("file", records, "a list of records, [{…}, …]", str(path), "Give another file")
        return []
    return records
