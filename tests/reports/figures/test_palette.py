"""Colours that everybody can tell from paper."""

from __future__ import annotations

import pytest

from qloc.reports.figures.palette import DARK, LIGHT, N_SERIES, N_STEPS, contrast


@pytest.mark.parametrize("colours", [LIGHT, DARK])
def test_colours_have_contrast(colours):
    paper = colours["paper"]
    assert contrast(colours["ink"], paper) >= 7
    assert contrast(colours["muted"], paper) >= 4.5
    assert min(contrast(colours[f"series-{n}"], paper) for n in range(N_SERIES)) >= 3
    assert min(contrast(colours[f"ramp-{n}"], colours[f"on-ramp-{n}"]) for n in range(N_STEPS)) >= 4.5
