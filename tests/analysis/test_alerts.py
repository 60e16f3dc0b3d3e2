"""Alerts: each is found where it should be, and nowhere else."""

from qloc.analysis.alerts import alerts
from qloc.analysis.results import Question, Table

GAPS = Table(name="completeness", title="", columns={"method": ("ig", "amig"), "over": (0.25, 0.0)})
QUALITY = Question(id="quality", title="?", answer="", tables=(GAPS,))
SOUND = {"facts compared": 10, "facts leaking": 0, "queries": 40, "queries known": 40}


def test_a_sound_study_has_no_alert():
    assert alerts((), {**SOUND, "known queries without knowledge neurons": 0}, ()) == ()


def test_every_alert_is_found():
    counts = {
        "facts compared": 9, "facts leaking": 1, "queries": 40, "queries known": 30,
        "known queries without knowledge neurons": 2,
    }  # fmt: skip
    found = {alert.kind: alert for alert in alerts((QUALITY,), counts, ("edits", "grams"), "Unread.")}
    assert list(found) == [
        "few facts",
        "leaking",
        "unknown",
        "empty sets",
        "gap over tolerance",
        "unreadable text",
        "missing arms",
    ]
    assert found["unknown"].text.startswith("10 queries of 40 (25%) are not known")
    assert found["gap over tolerance"].text.startswith(
        "For 25% of the queries a layer's attributions of ig miss"
    )
    assert found["gap over tolerance"].question == "quality"
    assert found["missing arms"].text.startswith("The store has no edits or grams:")
