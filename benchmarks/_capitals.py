"""Facts that small pretrained models know: capitals, in six wordings."""

from __future__ import annotations

import json
from pathlib import Path

CAPITALS = dict(
    pair.split("/")
    for pair in (
        "France/Paris Germany/Berlin Italy/Rome Spain/Madrid Japan/Tokyo Egypt/Cairo Russia/Moscow "
        "China/Beijing Greece/Athens Austria/Vienna Poland/Warsaw England/London Portugal/Lisbon "
        "Ireland/Dublin Norway/Oslo Sweden/Stockholm Denmark/Copenhagen Finland/Helsinki Turkey/Ankara "
        "Iran/Tehran Iraq/Baghdad Cuba/Havana Peru/Lima Chile/Santiago Kenya/Nairobi Thailand/Bangkok "
        "Vietnam/Hanoi Hungary/Budapest Syria/Damascus Belgium/Brussels"
    ).split()
)
WORDINGS = (
    "The capital of [X] is [Y].",
    "The capital city of [X] is [Y].",
    "[X]'s capital is [Y].",
    "[X], whose capital is [Y].",
    "The seat of the government of [X] is in [Y].",
    "In [X], the capital city is [Y].",
)


def study_facts(folder: Path, n_facts: int | None = None, n_wordings: int = 6) -> Path:
    """Write ``facts.jsonl`` with the first facts and wordings, all unless given."""
    path = folder / "facts.jsonl"
    lines = [
        {"id": s, "relation": "capital", "subject": s, "object": o, "queries": WORDINGS[:n_wordings]}
        for s, o in list(CAPITALS.items())[:n_facts]
    ]
    path.write_text("\n".join(map(json.dumps, lines)) + "\n", encoding="utf-8")
    return path
