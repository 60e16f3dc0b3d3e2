"""Figures in words."""

from __future__ import annotations

from qloc.reports.build import build


def test_alternative_texts_tell_the_extremes(study):
    told = {figure.source: figure.alt for figure in build([study]).figures}
    assert told["consistency_by_relation"] == (
        "Dot plot: Agreement beyond chance, by relation. κ, other answers: highest P36 capital at 0.71, "
        "lowest P19 birthplace at 0.12, of 9. κ, same answer: highest P36 capital at 0.237, "
        "lowest P19 birthplace at 0.04, of 9."
    )
    assert told["completeness_by_layer"].endswith(
        "over 0.05. Highest layer 2 at 6%, lowest layer 0 at 4%, of 3."
    )
    assert "CS2 < 0.1: as published: from 1.5% at 0.05 to 38% at 0.5." in told["ki_by_threshold"]
    assert "facts: highest layer 8 at 20%" in told["layer_profile"]
    assert told["heatmap_typical"].endswith("France → Paris. 4 rows, 10 columns, from 0 to 1.")
