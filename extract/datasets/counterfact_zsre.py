"""The facts of editing benchmarks, from ROME's JSON files: CounterFact and zsRE.

CounterFact asks each fact with a prompt of its relation and two paraphrases; zsRE with a question and a
rephrasing of it. ROME cuts each where the answer starts: ``[Y]`` goes to its end. The subject becomes ``[X]``
where it stands, so that prompts of one form share a template. The new object that an edit is to put in is
kept as the attribute ``target_new``. zsRE names no relations: facts asked by one form of question share one.

References
----------
Meng et al. 2022 (arXiv 2202.05262), §3.3 (CounterFact) and app. C (zsRE, after Levy et al. 2017).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from qloc.extract.datasets.facts_jsonl import facts_of
from qloc.extract.datasets.json_lines import Problems, read_bytes
from qloc.extract.datasets.selection import select
from qloc.facts import ANSWER_MARK, SUBJECT_MARK, FactSet

Entries = Iterator[dict[str, Any]]
"""Facts as lines of a facts.jsonl have them."""

Form = Callable[[Mapping[str, Any], int], Entries]
"""(record, its number from 1) → the facts of the record."""


def read_records(
    form: Form,
    path: Path,
    *,
    source: str,
    relations: tuple[str, ...] = (),
    max_facts: int | None = None,
    seed: int = 0,
) -> FactSet:
    """The facts of one of ROME's JSON files; see :func:`qloc.extract.datasets.read_facts`.

    Parameters
    ----------
    form : :func:`counterfact` or :func:`zsre`, of which the file's records are.

    Raises
    ------
    InputError : every problem of the file, each with its record.
    """
    problems = Problems()
    records = [(f"{path}, record {n}", one) for n, one in enumerate(_records(path, problems), start=1)]
    facts = facts_of(entries_of(records, form, problems), problems)
    problems.stop()
    return select(facts, source=source, skipped={}, relations=relations, max_facts=max_facts, seed=seed)


def counterfact(record: Mapping[str, Any], number: int) -> Entries:
    """The fact of one of CounterFact's records; KeyError, TypeError or AttributeError where it is none.

    Examples
    --------
    >>> rewrite = {"prompt": "{} is in", "relation_id": "P30", "subject": "Vinson Massif",
    ...            "target_true": {"str": "Antarctica"}, "target_new": {"str": "Europe"}}
    >>> (found,) = counterfact({"case_id": 7, "requested_rewrite": rewrite, "paraphrase_prompts": []}, 1)
    >>> found["id"], found["queries"]
    ('7', ['[X] is in [Y]'])
    """
    asked = record["requested_rewrite"]
    subject = asked["subject"].strip()
    prompts = [asked["prompt"].replace("{}", SUBJECT_MARK), *record.get("paraphrase_prompts", ())]
    yield {
        "id": str(record.get("case_id", number)),
        "relation": asked["relation_id"],
        "subject": subject,
        "object": asked["target_true"]["str"].strip(),
        "queries": [_query(prompt, subject) for prompt in prompts],
        "attributes": {"target_new": asked["target_new"]["str"].strip()},
    }


def zsre(record: Mapping[str, Any], number: int) -> Entries:
    """The facts of one of zsRE's records, one for each of its answers; errors as of :func:`counterfact`."""
    subject = record["subject"].strip()
    queries = [_query(prompt, subject) for prompt in (record["src"], record["rephrase"]) if prompt.strip()]
    answers = [answer.strip() for answer in record["answers"]]
    for which, answer in enumerate(answers):
        yield {
            "id": f"{number}" if len(answers) == 1 else f"{number}-{which + 1}",
            "relation": queries[0].removesuffix(f" {ANSWER_MARK}"),
            "subject": subject,
            "object": answer,
            "queries": queries,
            "attributes": {"target_new": record["alt"].strip()},
        }


def _query(prompt: str, subject: str) -> str:
    return f"{prompt.strip().replace(subject, SUBJECT_MARK)} {ANSWER_MARK}"


def entries_of(
    records: Sequence[tuple[str, Any]],
    form: Form,
    problems: Problems,
) -> list[tuple[str, dict[str, Any]]]:
    """(place, entry as of facts.jsonl) of the facts of (place, record) pairs."""
    found, rule = [], "as ROME's files have it"
    for number, (at, record) in enumerate(records, start=1):
        try:
            found += [(at, entry) for entry in form(record, number)]
        except KeyError as error:
            problems.add("record", f"without {error.args[0]}", rule, at, "Add it")
        except (TypeError, AttributeError, IndexError):
            problems.add("record", record, rule, at, "Correct it")
    return found


def _records(path: Path, problems: Problems) -> list[Any]:
    try:
        found = json.loads(read_bytes(path))
    except ValueError as error:
        problems.add("file", f"{error}", "JSON, encoded as UTF-8", str(path), "Give another file")
        return []
    if not isinstance(found, list) or not found:
        problems.add("file", found, "a list of records, [{…}, …]", str(path), "Give another file")
        return []
    return found
