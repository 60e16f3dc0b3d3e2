"""Texts and queries of a JSON entry, checked: everything that is wrong is noted with its place."""

from __future__ import annotations

from qloc.extract.datasets.json_lines import Problems
from qloc.facts import ANSWER_MARK, Query, fill


def check_text(key: str, value: object, at: str, problems: Problems) -> bool:
    """Note what is wrong with a text.

    Parameters
    ----------
    key : str
        Key of the text. A ``text``, which is a prompt, may have space at its ends.
    value : object
        What stands there.
    at : str
        Place of the entry, for messages.
    problems : Problems
        Receives every problem.

    Returns
    -------
    bool
        Whether it is a text that can be used.
    """
    if not isinstance(value, str):
        problems.add(key, value, "text", at, "Correct it")
    elif not value.strip():
        problems.add(key, value, "text that is not empty", at, "Fill it in")
    elif value != value.strip() and key != "text":
        problems.add(key, value, "text without space at its ends", at, "Remove the space")
    else:
        return True
    return False


def queries_of(value: object, subject: str, at: str, problems: Problems) -> tuple[Query, ...]:
    """Return the queries of a list.

    Parameters
    ----------
    value : object
        What stands under ``queries``; None where the key is missing, which is noted elsewhere.
    subject : str
        Put in place of ``[X]``.
    at : str
        Place of the entry, for messages.
    problems : Problems
        Receives every problem.

    Returns
    -------
    tuple of Query
        Those that are sound.
    """
    if value is None:
        return ()
    if not isinstance(value, list):
        problems.add("queries", value, "a list", at, "Write [ … ]")
        return ()
    if not value:
        problems.add("queries", value, "at least one query", at, "Add one, with [Y] where the answer stands")
    queries = []
    for number, entry in enumerate(value, start=1):
        query = _query(entry, subject, f"{at}, query {number}", problems)
        if query:
            queries.append(query)
    return tuple(queries)


def _query(entry: object, subject: str, at: str, problems: Problems) -> Query | None:
    if isinstance(entry, str):
        entry = {"template": entry, "text": entry}
    if not isinstance(entry, dict) or set(entry) != {"template", "text"}:
        problems.add("query", entry, 'text, or {"template": …, "text": …}', at, "Correct it")
        return None
    sound = [check_text(key, entry[key], at, problems) for key in ("text", "template")]
    if not all(sound):
        return None
    text = fill(entry["text"], subject)
    if text.count(ANSWER_MARK) != 1:
        problems.add("query", text, f"exactly one {ANSWER_MARK}", at, "Put it where the answer stands")
        return None
    return Query(template=entry["template"], text=text)
