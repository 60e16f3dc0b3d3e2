"""A model that is worse on a text than a guess cannot read it: said at ln|V|, and only where that is known."""

import numpy as np

from qloc.accuracy.readable_text import unreadable_text


def test_it_is_said_from_a_uniform_guess_on():
    attrs, nats = {"n_vocabulary": 50}, np.log(50)
    assert unreadable_text(np.array([nats - 0.01, np.nan]), attrs) == ""
    told = unreadable_text(np.array([nats + 1, np.nan, nats - 0.5]), attrs)  # 0.25 above in the mean
    assert told.startswith(
        "Before any edit the model is worse on held-out text (4.16 nats a token) than a uniform"
    )
    assert "guess (3.91)" in told


def test_older_stores_and_stores_without_edits_do_not_tell():
    assert unreadable_text(np.array([99.0]), {}) == ""
    assert unreadable_text(np.array([np.nan]), {"n_vocabulary": 50}) == ""
