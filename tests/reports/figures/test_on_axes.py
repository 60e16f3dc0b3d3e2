"""Figures on anybody's axes."""

import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure as Canvas

from qloc.errors import InputError
from qloc.reports.build import build
from qloc.reports.document import Figure, Series
from qloc.reports.figures import palette
from qloc.reports.figures.on_axes import on_axes


def test_a_figure_is_drawn_in_real_colours_on_the_axes_that_are_given(study):
    drawn = next(figure for figure in build([study]).figures if figure.source == "consistency_by_relation")
    ax = Canvas().add_subplot()
    assert on_axes(drawn, ax) is ax
    used = {line.get_color() for line in ax.get_lines()}
    assert {palette.LIGHT["series-0"], palette.LIGHT["series-1"]} <= used
    assert palette.colour("ink") != palette.LIGHT["ink"]  # reports go on drawing in roles
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["κ, other answers", "κ, same answer"]


def test_without_axes_there_is_a_new_figure_and_panels_go_by_their_titles():
    panels = tuple(
        Figure(
            kind="dots", id=name, title=name, alt="", series=(Series(name=name, x=("a", "b"), y=(1.0, 2.0)),)
        )
        for name in ("first", "second")
    )
    many = Figure(kind="multiples", id="f", title="many", alt="", panels=panels)
    ax = on_axes(many, panel="second")
    assert next(line.get_label() for line in ax.get_lines()) == "second"
    pyplot.close("all")
    with pytest.raises(InputError) as raised:
        on_axes(many, Canvas().add_subplot(), panel="third")
    assert str(raised.value) == (
        "panel is 'third'; expected one of first, second. At many. Choose one, or none for the first."
    )


def test_what_is_no_axes_is_refused():
    with pytest.raises(InputError) as raised:
        on_axes(Figure(kind="dots", id="f", title="t", alt=""), "axes")
    assert str(raised.value).startswith("ax is 'str'; expected a matplotlib Axes, or None. At qloc.plot.")
