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
    assert "no right answer ranks first" in found["unknown"].text
    assert found["gap over tolerance"].text.startswith(
        "For 25% of the queries a layer's attributions of ig miss"
    )
    assert found["gap over tolerance"].question == "quality"
    assert found["missing arms"].text.startswith("The store has no edits or grams:")


def test_pairs_that_are_not_known_are_told_as_pairs():
    table = Table(name="counts_by_relation", title="", columns={"kind": ("minimal_pair", "minimal_pair")})
    asked = Question(id="counts", title="?", answer="", tables=(table,))
    (alert,) = alerts((asked,), {**SOUND, "queries known": 30}, ())
    assert "the good form is no likelier" in alert.text
