"""Forests and violins: what is drawn is what the data say."""

import numpy as np
from matplotlib.figure import Figure as Canvas

from qloc.reports.document import Figure, Mark, Series
from qloc.reports.figures.row_plots import density, forest, forest_height, violins


def a_forest(*series: Series) -> Figure:
    return Figure(kind="forest", id="f", title="t", alt="", series=series, marks=(Mark(at=0.0, label=""),))


def test_a_forest_cuts_intervals_at_its_axis_and_writes_their_numbers():
    one = Series(name="a", x=("first", "second"), y=(0.5, -0.1), low=(0.25, -3.0), high=(0.75, 2.0))
    axes = Canvas().add_subplot()
    forest(axes, a_forest(one), 680)
    texts = {text.get_text() for text in axes.texts}
    assert {"first", "second", "0.50 [0.25, 0.75]", "−0.1 [−3.0, 2.0]"} <= texts
    markers = [str(line.get_marker()) for line in axes.get_lines()]
    assert sorted(marker for marker in markers if marker in "<>") == ["<", ">"]
    assert min(axes.get_xticks()) >= -1.4


def test_a_forest_grows_with_its_series():
    one = Series(name="a", x=("r",), y=(0.5,), low=(0.4,), high=(0.6,))
    two = Series(name="b", x=("r",), y=(0.5,), low=(0.4,), high=(0.6,))
    assert forest_height(a_forest(one, two), 680) > forest_height(a_forest(one), 680)


def test_a_violin_is_as_high_as_a_brute_force_density():
    values = np.array([0.1, 0.2, 0.25, 0.7])
    grid, height = density(values)
    width = 0.9 * values.std() * 4**-0.2
    brute = np.array([sum(np.exp(-0.5 * ((x - v) / width) ** 2) for v in values) for x in grid])
    np.testing.assert_allclose(height, brute / brute.max())
    assert density([0.3, 0.3])[0].tolist() == [0.3, 0.3]


def test_violins_show_every_fact_and_the_median():
    series = Series(name="κ", x=("P36",) * 3 + ("P19",), y=(0.1, 0.4, 0.3, 0.9))
    axes = Canvas().add_subplot()
    violins(axes, Figure(kind="violins", id="f", title="t", alt="", series=(series,)), 680)
    points = [line for line in axes.get_lines() if line.get_marker() == "o"]
    assert sorted(float(x) for line in points for x in np.asarray(line.get_xdata())) == [0.1, 0.3, 0.4, 0.9]
    assert [np.asarray(line.get_xdata())[0] for line in axes.get_lines() if line.get_marker() == "|"] == [
        0.3,
        0.9,
    ]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["P36", "P19"]
