"""What figures share around their marks."""

from matplotlib.figure import Figure as Canvas

from qloc.reports.document import Figure, Mark, Series
from qloc.reports.figures.axes_frames import frame, rows


def test_rows_are_named_from_the_top_and_shares_end_at_one():
    figure = Figure(
        kind="dots", id="f", title="t", alt="", series=(Series(name="s", x=("a", "b"), y=(0.2, 1.0)),),
        axis="share", marks=(Mark(at=0.5, label="half"),),
    )  # fmt: skip
    axes = Canvas().add_subplot()
    axes.plot([0.2, 1.0], [0, 1])
    rows(axes, figure, ["a", "b"], 680)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]
    assert axes.get_xlim()[1] < 1.05
    assert "half" in {text.get_text() for text in axes.texts}


def test_a_frame_has_the_label_of_its_values_on_top():
    figure = Figure(kind="lines", id="f", title="t", alt="", value_label="nats", other_label="layer")
    axes = Canvas().add_subplot()
    frame(axes, figure, 680)
    assert axes.get_title(loc="left") + axes.get_title() == "nats"
    assert axes.get_xlabel() == "layer"
