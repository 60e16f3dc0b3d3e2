"""Figures as files: real colours, text that stays text, and nothing of the day or the reader's settings."""

from __future__ import annotations

import re

import matplotlib as mpl

from qloc.reports.build import build
from qloc.reports.figures import palette
from qloc.reports.figures.print_files import print_files


def test_a_figure_is_the_same_file_whatever_the_reader_set(study):
    figure = build([study]).figures[0]
    files = print_files(figure)
    with mpl.rc_context({"font.size": 30, "pdf.fonttype": 3}):
        assert print_files(figure) == files
    assert set(files) == {"pdf", "svg"}
    assert b"/Subtype /Type3" not in files["pdf"]
    assert not re.search(rb"CreationDate|matplotlib\.org", files["pdf"])
    text = files["svg"].decode()
    assert palette.LIGHT["series-0"] in text
    assert "#01fe" not in text
    assert "<text" in text
