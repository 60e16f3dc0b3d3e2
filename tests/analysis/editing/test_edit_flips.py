"""Decisions that edits turn round, by brute force."""

import numpy as np

from qloc.analysis.editing.edit_flips import EditFlips


def test_the_edited_query_decides(changed_study):
    flips = EditFlips.of(changed_study, "first")
    assert flips is not None
    found = changed_study.edits
    erased = found["rank"].sel(edit_operation="erase", edit_set="own").values
    first, leaks = (changed_study.column("facts", name) for name in ("first_query", "leaks"))
    kind = changed_study.column("queries", "kind")
    shares = flips.shares("erase", "own")
    for fact, query in enumerate(found["edited_query"].values):
        counts = query >= 0 and not leaks[fact] and kind[query] == "fact"
        place = int(query - first[fact])
        if not counts or found["base_rank"].values[fact, place] != 1 or erased[fact, place] < 1:
            assert np.isnan(shares[fact])
        else:
            assert shares[fact] == (erased[fact, place] > 1)
    assert 0 < np.nanmean(shares) <= 1
    assert EditFlips.of(changed_study, "preferred") is None  # no bad forms were asked
