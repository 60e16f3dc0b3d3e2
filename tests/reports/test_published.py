"""The one tag of what is as published."""

from qloc.reports.published import COLUMNS, is_published, tagged, untagged


def test_a_heading_is_tagged_once():
    for column in COLUMNS:
        heading = tagged("score", column)
        assert is_published(heading)
        assert tagged(heading, column) == heading
        assert untagged(heading) == "score"
    asked = "What was published, and how sure that is"
    assert not is_published(asked)
    assert untagged(asked) == asked
    assert tagged("arithmetic mean, as published", "arithmetic") == "arithmetic mean, as published"
