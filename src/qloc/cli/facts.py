"""``qloc facts``: look at facts before a model is run over them."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from qloc.cli import extract_options as opt
from qloc.cli.shared import Command, Log, Quiet, conclude, counted, quoted
from qloc.cli.text_tables import table
from qloc.progress import Progress

if TYPE_CHECKING:
    from qloc.extract.signals.extraction import Extraction
    from qloc.extract.signals.facts_check import Checked

facts = typer.Typer(
    name="facts",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Look at facts before a model is run over them.",
)

_COLUMNS: Final = ("id", "relation", "subject", "object", "queries", "askable", "known", "leaking", "left")


@facts.command(cls=Command)
def check(
    ctx: typer.Context,
    facts: Annotated[
        str,
        typer.Argument(metavar="FACTS", help=opt.SOURCES),
    ],
    model: opt.Model = None,
    revision: Annotated[
        str | None, typer.Option("--revision", metavar="NAME", help="Branch, tag or commit on the hub.")
    ] = None,
    blocks: opt.Blocks = None,
    down: opt.Down = None,
    relations: opt.Relations = None,
    max_facts: opt.MaxFacts = None,
    seed: opt.Seed = None,
    device: opt.Device = None,
    dtype: opt.DtypeName = None,
    memory: opt.Memory = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.csv", help="Write one line a fact to a table.")
    ] = None,
    quiet: Quiet = False,
    log: Log = None,
) -> None:
    """Tell which facts a model can be asked, which it knows, and how many queries are left of each.

    By plain forward passes, in minutes where an extraction takes hours. Askable: prompt and answer can be
    tokenized and, for a causal model, nothing but punctuation follows the answer. Known: a right answer ranks
    first. Leaking: the answer is contained in the subject; such facts are left out of every score. Left (k):
    known queries of facts that do not leak. Scores need k of two at least, K_I(3) of three.

    \b
    Examples:
      qloc facts check facts.jsonl --model gpt2
      qloc facts check facts.csv --model ./llama --out checked.csv
      qloc facts check embedded --model embedded:causal --max-facts 6

    \b
    A facts.csv has one query a line, [X] being the subject and [Y] the answer; lines with one relation,
    subject and object are one fact. id and template may be left out; other columns are attributes:
      relation,subject,object,query,template,count
      capital,France,Paris,The capital of [X] is [Y].,capital-1,51
      capital,France,Paris,"[X]'s capital, [Y]",capital-2,51
    """  # noqa: D301  (typer keeps what follows \b as it is)
    from qloc.errors import InputError, message
    from qloc.plan import Plan, plan_from
    from qloc.workflows.extract import prepared

    if model is None:
        rule, action = "a value of --model", "Add one, such as --model embedded:causal"
        raise InputError(message("model", None, rule, "qloc facts check", action))
    flags = {name: value for name, value in ctx.params.items() if name in Plan.model_fields}
    extraction = prepared(plan_from(None, flags))
    from qloc.extract.signals.facts_check import checked

    found: list[Checked] = []
    with Progress(quiet=quiet, log=log) as progress:
        progress.say(f"Loading {model} …")
        n_queries = sum(map(len, extraction.asking.asked))
        with progress.stage("check", n_queries) as advance:
            for one in checked(extraction):
                found.append(one)
                advance(one.n_askable)
    if out:
        _write(out, found)
    if not quiet:
        typer.echo("\n".join(_page(extraction, found)))
    following = quoted("qloc", "extract", "--model", model, "--facts", facts, "--out", "study.zarr")
    conclude(f"\nTable: {out}" if out else "", following, quiet=quiet)


def _page(extraction: Extraction, found: Sequence[Checked]) -> Iterator[str]:
    facts, asking = extraction.facts, extraction.asking
    n_queries = sum(len(one.fact.queries) for one in found)
    n_askable, n_known = sum(one.n_askable for one in found), sum(one.n_known for one in found)
    yield f"{counted(len(found), 'fact')} with {counted(n_queries, 'query')}"
    yield f"  askable   {_share(n_askable, n_queries)} of the queries"
    yield from (f"            {count:,} not: {reason}" for reason, count in asking.excluded.items())
    yield f"  known     {_share(n_known, n_askable)} of the askable queries"
    yield f"  leaking   {_share(sum(one.fact.leaks for one in found), len(found))} of the facts"
    yield f"  duplicate {counted(facts.merged, 'fact')}, merged with an earlier one"
    yield from (f"  counted   {count:,} × {reason}" for reason, count in facts.skipped.items())
    yield "\nBy relation"
    heads = ["relation", "facts", "leaking", "queries", "askable", "known", "k ≥ 2", "k ≥ 3"]
    yield table(heads, [_row(name, found) for name in facts.relations()])
    left = Counter(one.left for one in found)
    yield "\nKnown queries left of a fact (k), leaking facts aside"
    yield table(["k", "facts"], [[k, left[k]] for k in sorted(left)])


def _row(relation: str, found: Sequence[Checked]) -> list[str | int]:
    here = [one for one in found if one.fact.relation == relation]
    sums = [
        sum(one.fact.leaks for one in here),
        sum(len(one.fact.queries) for one in here),
        sum(one.n_askable for one in here),
        sum(one.n_known for one in here),
    ]
    return [relation, len(here), *sums, *(sum(one.left >= k for one in here) for k in (2, 3))]


def _share(n: int, of: int) -> str:
    return f"{n:,} of {of:,} ({100 * n / of:.0f}%)" if of else "0 of 0"


def _write(out: Path, found: Sequence[Checked]) -> None:
    from qloc.text_files import write_text

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for one in found:
        fact = one.fact
        cells: list[Any] = [fact.id, fact.relation, fact.subject, fact.object, len(fact.queries)]
        writer.writerow([*cells, one.n_askable, one.n_known, int(fact.leaks), one.left])
    write_text(text.getvalue(), out, "table")
