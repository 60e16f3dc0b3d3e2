"""What a document says: every finding once, by verdict and role."""

from __future__ import annotations

import hashlib
import json

from qloc.reports.build import build


def test_summary_has_every_test_once_confirmatory_first(study):
    summary = build([study]).parts[0].summary
    listed = [
        finding.test.name
        for finding in (
            *summary.held,
            *summary.opposite,
            *summary.equal,
            *summary.undecided,
            *summary.untold,
            *summary.measured,
        )
    ]
    assert listed == ["H1a", "L2", "H2", "H1b", "L1"]
    assert sorted(listed) == sorted(test.name for test in study.tests())


def test_what_the_plan_confirms_stands_apart(study):
    """Every test once, under its role; the plan's digest is that of its canonical JSON, recomputed here."""
    summary = build([study]).parts[0].summary
    text = json.dumps(dict(study.plan), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert summary.digest == hashlib.sha256(text.encode()).hexdigest()
    titles = [title for title, _ in summary.roles()]
    assert titles == [
        f"Confirmatory: the tests that analysis plan {summary.digest[:12]} names",
        "Exploratory: to be confirmed on other data",
        "Descriptive",
    ]
    listed = []
    for role, (_, groups) in zip(
        ("confirmatory", "exploratory", "descriptive"), summary.roles(), strict=True
    ):
        findings = [finding for _, of_verdict in groups for finding in of_verdict]
        assert {finding.test.role for finding in findings} == {role}
        listed += [finding.test.name for finding in findings]
    assert sorted(listed) == sorted(test.name for test in study.tests())
