"""Marks of series: what is as published looks the same in every figure."""

from qloc.reports.document import Figure, Series
from qloc.reports.figures import palette
from qloc.reports.figures.marks import mark_of, published_mark


def test_what_is_as_published_is_gray_and_hollow_and_takes_no_colour_of_the_others():
    def figure(*names: str) -> Figure:
        series = tuple(Series(name=name, x=("a",), y=(1.0,)) for name in names)
        return Figure(kind="dots", id="f", title="t", alt="", series=series)

    for names in (("K_I, as published", "ours"), ("ours", "K_I, as published")):
        drawn = figure(*names)
        marks = {name: mark_of(drawn, n) for n, name in enumerate(names)}
        assert marks["K_I, as published"] == published_mark()
        assert marks["ours"].colour == palette.series(0)
        assert not marks["ours"].hollow
