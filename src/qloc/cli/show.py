"""``qloc show``: one fact, as a page of text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Final

import typer

from qloc.cli.shared import conclude, counted, quoted
from qloc.cli.text_tables import cut, paragraph, table, written

if TYPE_CHECKING:
    from qloc.analysis.one_fact import OneFact

MOST_FACTS: Final = 5
"""Facts that are shown whole; of more, a list."""
MOST_NEURONS: Final = 12
"""Neurons of a list that are named."""
_WIDEST: Final = 52


def show(
    store: Annotated[str, typer.Argument(metavar="STORE", help="A store, packed or not, or the URL of one.")],
    fact: Annotated[str, typer.Argument(metavar="FACT", help="A subject, an id, or a part of one.")],
    method: Annotated[str, typer.Option("--method", metavar="NAME", help="Attribution method.")] = "ig",
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", metavar="T", help="Attribution > T · maximum. [default: 0.2]"),
    ] = None,
) -> None:
    """Show one fact: its queries, its knowledge neurons, its scores, and what changing them did.

    Of every query: whether the model knows the answer, log P and rank of the answer, and the size of its set
    of knowledge neurons. Of the fact: in how many of its known queries each neuron is (c_n), and CS1, CS2, D
    and κ. A neuron is written layer.index. Where the store has them: interventions and edits.

    \b
    Examples:
      qloc show gpt2.zarr France
      qloc show gpt2.zarr P36-17 --threshold 0.3
    """  # noqa: D301  (typer keeps what follows \b as it is)
    from qloc.analysis.one_fact import find, one_facts
    from qloc.workflows.analyze import open_study

    study = open_study(store)
    rows = find(study, fact)
    if len(rows) > MOST_FACTS:
        columns = [study.column("facts", name)[rows] for name in ("id", "subject", "relation", "object")]
        typer.echo(f"{counted(len(rows), 'fact')} with {fact!r} in id or subject:")
        typer.echo(table(["id", "subject", "relation", "object"], [*zip(*columns, strict=True)]))
        conclude("", f"{quoted('qloc', 'show', store)} with one of these")
        return
    pages = ["\n".join(_page(one)) for one in one_facts(study, rows, method=method, threshold=threshold)]
    conclude("\n\n\n".join(pages) + "\n", quoted("qloc", "analyze", store))


def _page(fact: OneFact) -> Iterator[str]:
    yield f"{fact.subject} – {fact.relation} – {fact.object}   ({fact.id})"
    if fact.attributes:
        yield paragraph(", ".join(f"{name}: {value}" for name, value in fact.attributes.items()))
    if fact.leaks:
        yield paragraph("The answer is contained in the subject: left out of every score.")
    yield ""
    if not fact.queries:
        yield paragraph("The model cannot be asked any of its queries.")
        return
    yield "Queries"
    yield table(
        ["prompt", "known", "log P", "rank", "|N|"],
        [[cut(q.prompt, _WIDEST), q.known, q.log_probability, q.rank, len(q.neurons)] for q in fact.queries],
    )
    yield f"\nKnowledge neurons ({fact.rule})"
    yield from _neurons(fact)
    yield paragraph("What they promote is left out: it takes the output embedding, which no store has.")
    yield "\nScores over known queries"
    yield paragraph(_scores(fact))
    yield from _changed(fact)


def _neurons(fact: OneFact) -> Iterator[str]:
    if not fact.k:
        yield paragraph("No known query has any.")
        return
    yield paragraph(
        f"In any of the {counted(fact.k, 'known query')} that have some: {len(fact.count):,}. "
        f"In all of them: {len(fact.intersection):,}. In more than one: "
        f"{sum(c > 1 for c in fact.count.values()):,}."
    )
    named = [f"{_name(fact, n)}×{c}" for n, c in list(fact.count.items())[:MOST_NEURONS]]
    more = len(fact.count) - len(named)
    yield paragraph(f"c_n: {', '.join(named)}{f' and {more:,} more' if more > 0 else ''}")


def _name(fact: OneFact, neuron: int) -> str:
    return f"{neuron // fact.n_neurons}.{neuron % fact.n_neurons}"


def _scores(fact: OneFact) -> str:
    if fact.k < 2:
        return f"Not defined: {counted(fact.k, 'known query')} with knowledge neurons; two are needed."
    names = {"kappa": "κ", "kappa_same_answer": "κ (same answer)"}
    each = [f"{names.get(name, name)} {written(value)}" for name, value in fact.scores.items()]
    return f"{', '.join(each)}   (k = {fact.k})"


def _changed(fact: OneFact) -> Iterator[str]:
    if fact.effects:
        yield "\nInterventions: mean Δ log P of the answer, all queries"
        for operation, effects in fact.effects.items():
            each = ", ".join(f"{name.replace('_', ' ')} {value:+.2f}" for name, value in effects.items())
            yield paragraph(f"{operation}: {each}")
    if fact.edited:
        yield f"\nEdits: rank of {fact.new_object!r} after an update, for the query that was edited"
        before = next(iter(fact.edited.values()))[0]
        after = ", ".join(f"{name.replace('_', ' ')} {rank:,}" for name, (_, rank) in fact.edited.items())
        yield paragraph(f"before {before:,}; {after}")
