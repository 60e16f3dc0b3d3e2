"""LaTeX: texts stay texts, and braces match."""

from __future__ import annotations

import re

import pytest


def test_hostile_texts_stay_texts_in_latex(rendered):
    page = rendered["latex", "hostile"]
    assert r"\alpha \{" not in page
    assert r"\textbackslash{}alpha \{y\}" in page
    assert r"5\% \#1" in page
    assert r"\$x\textasciicircum{}2\$" in page


@pytest.mark.parametrize("name", ["rich", "hostile", "bare", "void"])
def test_latex_is_balanced(rendered, name):
    page = re.sub(r"\\[\\{}$%#&_]", "", rendered["latex", name])
    assert page.count("{") == page.count("}")
    stack = []
    for verb, environment in re.findall(r"\\(begin|end)\{(\w+)\}", page):
        if verb == "begin":
            stack.append(environment)
        else:
            assert stack.pop() == environment
    assert stack == []
    assert "$" not in page
