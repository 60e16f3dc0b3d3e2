"""Facts that small pretrained models know: capitals and languages of countries, in six wordings each."""

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
LANGUAGES = dict(
    pair.split("/")
    for pair in (
        "France/French Germany/German Italy/Italian Spain/Spanish Japan/Japanese China/Chinese "
        "Russia/Russian Greece/Greek Poland/Polish Sweden/Swedish Norway/Norwegian Denmark/Danish "
        "Finland/Finnish Hungary/Hungarian Turkey/Turkish Portugal/Portuguese Brazil/Portuguese "
        "Mexico/Spanish Egypt/Arabic Iraq/Arabic Austria/German Argentina/Spanish Chile/Spanish "
        "Peru/Spanish Cuba/Spanish Colombia/Spanish Thailand/Thai Vietnam/Vietnamese"
    ).split()
)
WORDINGS = {
    "capital": (
        "The capital of [X] is [Y].",
        "The capital city of [X] is [Y].",
        "[X]'s capital is [Y].",
        "[X], whose capital is [Y].",
        "The seat of the government of [X] is in [Y].",
        "In [X], the capital city is [Y].",
    ),
    "language": (
        "The official language of [X] is [Y].",
        "[X]'s official language is [Y].",
        "Most people in [X] speak [Y].",
        "The people of [X] speak [Y].",
        "In [X], people speak [Y].",
        "The language that is spoken in [X] is [Y].",
    ),
}


def study_facts(folder: Path, n_facts: int | None = None, n_wordings: int = 6) -> Path:
    """Write ``facts.jsonl`` with the first facts, capitals first, and wordings; all unless given."""
    path = folder / "facts.jsonl"
    facts = [("capital", s, o) for s, o in CAPITALS.items()]
    facts += [("language", s, o) for s, o in LANGUAGES.items()]
    lines = [
        {
            "id": f"{relation}-{s}",
            "relation": relation,
            "subject": s,
            "object": o,
            "queries": WORDINGS[relation][:n_wordings],
        }
        for relation, s, o in facts[:n_facts]
    ]
    path.write_text("\n".join(map(json.dumps, lines)) + "\n", encoding="utf-8")
    return path
