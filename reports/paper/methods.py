r"""What a paper says of how its numbers were made: methods with citations, and their bibliography."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from qloc.references import BIBLIOGRAPHY, SOFTWARE, bibtex_of, place_of
from qloc.reports.document import Document, Part, Section
from qloc.reports.paper.latex_text import escape
from qloc.version import __version__

_TOLD: Final = (
    ("attribution methods in the store", "Attribution methods"),
    ("knowledge neurons", "Knowledge neurons"),
    ("site", "Site"),
    ("draws", "Random draws"),
    ("analysis plan, sha256", "Digest of the analysis plan (sha256)"),
    ("store fingerprint", "Fingerprint of the extraction"),
)
"""Entries of the provenance that the methods name, and their words."""


def methods(document: Document) -> str:
    r"""Write the methods section.

    Parameters
    ----------
    document : Document
        As data.

    Returns
    -------
    str
        LaTeX, from ``\section`` on.
    """
    lines = [r"\section*{Methods}"]
    for part in document.parts:
        lines += _part(part, titled=len(document.parts) > 1)
    sections = [section for part in document.parts for section in part.sections]
    for title, paragraphs, references in _told_once(sections):
        first, *others = paragraphs
        lines.append(rf"\paragraph{{{escape(title)}}} {escape(first)}{_cites(references)}")
        lines += map(escape, others)
    software = r", ".join(rf"{_SOFTWARE[key]}~\cite{{{key}}}" for key in SOFTWARE)
    lines.append(
        rf"\paragraph{{Software}} qloc {escape(__version__)}~\cite{{qloc}} extracted, tested and drew; "
        rf"it rests on {software}."
    )
    return "\n\n".join(lines) + "\n"


_SOFTWARE: Final = {
    "paszke2019": "PyTorch", "wolf2020": "Transformers", "harris2020": "NumPy", "virtanen2020": "SciPy",
    "seabold2010": "statsmodels", "hoyer2017": "xarray", "hunter2007": "Matplotlib",
}  # fmt: skip


def _part(part: Part, *, titled: bool) -> Iterator[str]:
    told = dict(part.provenance.entries)
    head = rf"\paragraph{{{escape(part.title)}}} " if titled else ""
    counts = "; ".join(f"{name}: {count:,}" for name, count in part.provenance.counts)
    yield f"{head}Model: {escape(part.model)}. Asked: {escape(part.facts)}."
    if counts:
        yield f"{escape(counts)}."
    named = [f"{escape(words)}: {escape(told[name])}." for name, words in _TOLD if name in told]
    if named:
        yield " ".join(named)
    yield from map(escape, part.notes)


def _told_once(sections: Iterable[Section]) -> Iterator[tuple[str, list[str], tuple[str, ...]]]:
    """Title, paragraphs and references of each method; of several studies' equal ones the first."""
    seen = set()
    for section in sections:
        if section.method and (section.title, section.method) not in seen:
            seen.add((section.title, section.method))
            yield section.title, section.method.split("\n\n"), section.references


def _cites(references: Sequence[str]) -> str:
    return "".join(f"~{cite(line)}" for line in references)


def cite(line: str) -> str:
    r"""Cite a reference.

    Parameters
    ----------
    line : str
        As the results have it.

    Returns
    -------
    str
        ``\cite``, with the place in the source where the line has one.

    Examples
    --------
    >>> print(cite(BIBLIOGRAPHY["dai2022"].line("§4")))
    \cite[{§4}]{dai2022}
    """
    key, where = place_of(line)
    return rf"\cite[{{{escape(where)}}}]{{{key}}}" if where else rf"\cite{{{key or _own_key(line)}}}"


def _own_key(line: str) -> str:
    """The key of a source that the bibliography does not have."""
    return "source-" + "".join(letter for letter in line if letter.isascii() and letter.isalnum())[:40]


def bibliography(document: Document) -> str:
    """Write the references of a document as BibTeX, with entries for qloc and the software in it.

    Parameters
    ----------
    document : Document
        As data.

    Returns
    -------
    str
        Each source once.
    """
    others = [line for line in document.references if not place_of(line)[0]]
    made = [f"@misc{{{_own_key(line)},\n  note = {{{escape(line)}}},\n}}\n" for line in others]
    return "\n".join([bibtex_of(document.references), *made])


def printed_bibliography(document: Document) -> str:
    r"""Write the references as BibTeX would: a paper compiles before BibTeX runs.

    Parameters
    ----------
    document : Document
        As data.

    Returns
    -------
    str
        A ``thebibliography``, in the order of first use.
    """
    entries = {}
    for line in document.references:
        key, _ = place_of(line)
        entries[key or _own_key(line)] = BIBLIOGRAPHY[key].line() if key else line
    title = "qloc: where does a language model keep a fact?"
    entries["qloc"] = f"qloc contributors. {title} Version {__version__}."
    entries |= {key: BIBLIOGRAPHY[key].line() for key in SOFTWARE if key not in entries}
    items = [rf"\bibitem{{{key}}} {escape(line)}" for key, line in entries.items()]
    return "\n".join((r"\begin{thebibliography}{99}", *items, r"\end{thebibliography}")) + "\n"
