"""First sentences: whole, whatever stands for a name in them."""

import pytest

from qloc.text.sentences import first_sentence


@pytest.mark.parametrize(
    ("text", "first"),
    [
        (
            "Shown: J. R. R. Tolkien → Oxford (0.9). The mean is 0.6.",
            "Shown: J. R. R. Tolkien → Oxford (0.9).",
        ),
        ("It is St. Petersburg, U.S. territory. Yes.", "It is St. Petersburg, U.S. territory."),
        ("Martin Luther King Jr. → peace! Yet not all.", "Martin Luther King Jr. → peace!"),
        ("Yahoo! → Sunnyvale. So it is.", "Yahoo! → Sunnyvale."),
        ("It goes with κ. Yet not all.", "It goes with κ."),
        ("It is layer 5. Yet not all.", "It is layer 5."),
        ("It is the mean of all", "It is the mean of all"),
    ],
)
def test_the_first_sentence_is_whole(text, first):
    assert first_sentence(text) == first
