"""What stands on axes: names cut or wrapped to the width there is, ticks at round numbers."""

import math

import pytest

from qloc.reports.document import Figure, Series
from qloc.reports.figures.axis_labels import (
    CHARACTER,
    categories,
    clipped,
    floats,
    folded,
    n_lines,
    padded,
    ticks,
    wrapped,
    written,
)


def test_categories_stand_once_in_the_order_of_appearance():
    series = (Series(name="s", x=("b", "a"), y=(1.0, 2.0)), Series(name="t", x=("a", "c"), y=(1.0, 2.0)))
    figure = Figure(kind="dots", id="f", title="t", alt="", series=series)
    assert categories(figure) == ["b", "a", "c"]


def test_what_is_absent_is_nan():
    assert floats([1, 2.5])[:2] == [1.0, 2.5]
    assert math.isnan(floats([None])[0])


def test_limits_are_widened_on_either_side():
    assert padded((0.0, 2.0)) == pytest.approx((-0.03, 2.03), abs=1e-12)


def test_ticks_stand_at_round_numbers():
    assert list(ticks(4, whole=False).tick_values(0.0, 1.0)) == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    places = ticks(4, whole=True).tick_values(0, 3)
    assert list(places) == [round(place) for place in places]


@pytest.mark.parametrize(
    ("axis", "value", "text"),
    [
        ("share", 0.25, "25%"),
        ("share", 0.02 + 4e-18, "2%"),
        ("share", 0.1 - 0.08, "2%"),
        ("count", 1234.0, "1,234"),
        ("number", -0.5, "−0.5"),
        ("number", 1e-15, "0"),
        ("number", 0.9925, "0.9925"),
        ("number", 10.25, "10.25"),
        ("number", 1002.5, "1002.5"),
        ("number", 12500.0, "12,500"),
        ("share", 0.125, "12.5%"),
        ("share", 0.0025, "0.25%"),
        ("share", 0.995, "99.5%"),
        ("share", 1.0, "100%"),
        ("share", -0.5, "−50%"),
    ],
)
def test_axes_write_numbers_as_reports_do(axis, value, text):
    assert written(axis)(value) == text


def test_a_label_is_wrapped_to_three_lines_and_cut_behind():
    label = "the share of queries whose completeness gap is over the tolerance " * 3
    lines = wrapped(label, 300).split("\n")
    assert len(lines) == 3
    assert max(map(len, lines)) <= 0.75 * 300 / CHARACTER
    assert lines[-1].endswith("…")


def test_a_name_is_folded_to_lines_of_a_third_of_the_figure():
    assert folded("P36  capital", 680) == "P36 capital"
    assert folded("", 680) == " "
    both = [folded(f"ig, known queries, t = {t}", 350) for t in (0.1, 0.2)]
    assert both[0] == "ig, known\nqueries, t = 0.1"
    assert (n_lines(["a", "ig, known queries, t = 0.1"], 350), n_lines([], 350)) == (2, 1)
    assert folded("erase, CAS, β₂ = 0", 350).split("\n") == ["erase, CAS,", "β₂ = 0"]
    assert folded("update, union, top b", 350).split("\n")[-1].endswith("top b")
    cut = folded("a name that goes on and on and on and on and on", 240).split("\n")
    assert len(cut) == 3
    assert max(map(len, cut)) <= 0.34 * 240 / CHARACTER
    assert cut[-1].endswith("…")


def test_a_name_is_clipped_to_a_third_of_the_figure():
    assert clipped("P36  capital", 680) == "P36 capital"
    cut = clipped("a name that goes on and on", 240)
    assert len(cut) <= 0.34 * 240 / CHARACTER + 1
    assert cut.endswith("…")
