"""Markdown: texts stay texts."""

from __future__ import annotations

import re


def test_hostile_texts_stay_texts_in_markdown(rendered):
    page = rendered["md", "hostile"]
    assert not re.search(r"(?<!\\)<(?=[a-z/])", re.sub(r"^(`{3,}).*?^\1$", "", page, flags=re.S | re.M))
    rows = [line for line in page.splitlines() if line.startswith("|") and "alert" in line]
    assert rows
    grid = next(block for block in page.split("\n\n") if block.startswith("|") and "P30" in block)
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in grid.splitlines()}) == 1
