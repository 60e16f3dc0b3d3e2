"""What a notebook shows of an object: heading, sentences and table, as HTML with every text escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape


def notebook_html(title: str, sentences: Sequence[str] = (), pairs: Sequence[tuple[str, str]] = ()) -> str:
    """Write a heading, sentences, and pairs of name and value.

    Parameters
    ----------
    title : str
        One line.
    sentences : sequence of str, default ()
        A paragraph each.
    pairs : sequence of (str, str), default ()
        Rows of a table; those without a value are left out.

    Returns
    -------
    str
        HTML.

    Examples
    --------
    >>> notebook_html("A < B", ["Yes."], [("p", "0.01"), ("n", "")])
    '<b>A &lt; B</b><p>Yes.</p><table><tr><th>p</th><td>0.01</td></tr></table>'
    """
    told = "".join(f"<p>{escape(sentence)}</p>" for sentence in sentences)
    rows = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in pairs if value
    )
    return f"<b>{escape(title)}</b>{told}" + (f"<table>{rows}</table>" if rows else "")
