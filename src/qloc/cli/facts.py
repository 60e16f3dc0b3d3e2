"""``qloc facts``: look at facts before a model is run over them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from qloc.cli import extract_options as opt
from qloc.cli.shared import Command, Log, Quiet, conclude, quoted, say
from qloc.facts import INVERSE, entailment_counts
from qloc.progress import Progress
from qloc.text.rounding import counted, share
from qloc.text.tables import table

if TYPE_CHECKING:
    from qloc.workflows.check_facts import FactsCheck

facts = typer.Typer(
    name="facts",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Look at facts: before a model is run over them, and in a store.",
)

_ALSO_OF_EXTRACT: Final = (
    *(
        "revision",
        "blocks",
        "down",
        "relations",
        "max_facts",
        "pairs",
        "pair_queries",
        "seed",
        "device",
        "dtype",
        "memory",
    ),
)
"""Options that an extraction of the facts that were checked takes too."""


@facts.command("list", cls=Command)
def list_(
    store: Annotated[str, typer.Argument(metavar="STORE", help="A store, packed or not, or the URL of one.")],
    relation: Annotated[
        str | None, typer.Option("--relation", metavar="NAME", help="List the facts of this relation.")
    ] = None,
) -> None:
    """List the relations of a store, or the facts of one of them.

    Of each relation: its facts, their queries, how many of these the model knows, and facts with at least two
    known queries, which scores need. Of each fact: its id, by which qloc show finds it.

    \b
    Examples:
      qloc facts list gpt2.zarr
      qloc facts list gpt2.zarr --relation P36
    """  # noqa: D301  (typer keeps what follows \b as it is)
    from qloc.workflows.analyze import open_study
    from qloc.workflows.show import facts_text, relations_text

    study = open_study(store)
    if relation is None:
        text, first = relations_text(study)
        conclude(text, quoted("qloc", "facts", "list", store, "--relation", first))
    else:
        text, first = facts_text(study, relation)
        conclude(text, quoted("qloc", "show", store, first))


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
    pairs: opt.Pairs = None,
    pair_queries: opt.PairQueries = None,
    seed: opt.Seed = None,
    device: opt.Device = None,
    dtype: opt.DtypeName = None,
    memory: opt.Memory = None,
    whole_sentences: Annotated[
        bool,
        typer.Option(
            "--whole-sentences",
            help="Compare pairs that a causal model cannot be asked, by log P of the whole sentences.",
        ),
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.csv", help="Write one line a fact to a table.")
    ] = None,
    quiet: Quiet = False,
    log: Log = None,
) -> None:
    """Tell which facts a model can be asked, which it knows, and how many queries are left of each.

    By plain forward passes, in minutes where an extraction takes hours. Askable: prompt and answer can be
    tokenized and, for a causal model, nothing but punctuation follows the answer. Known: a right answer ranks
    first; of a minimal pair, the good form is likelier than the bad one. Leaking: the answer is contained in
    the subject; such facts are left out of every score. Left (k): known queries of facts that do not leak.
    Scores need k of two at least, K_I(3) of three.

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
    from qloc.workflows.check_facts import check_facts

    if model is None:
        rule, action = "a value of --model", "Add one, such as --model embedded:causal"
        raise InputError(message("model", None, rule, "qloc facts check", action))
    if out and Path(facts).expanduser().resolve() == out.resolve():
        rule, action = "another file than the facts, which it would replace", "Give another name"
        raise InputError(message("out", str(out), rule, "qloc facts check --out", action))
    flags = {name: value for name, value in ctx.params.items() if name in Plan.model_fields}
    with Progress(quiet=quiet, log=log) as progress:
        counts = check_facts(plan_from(None, flags), whole_sentences=whole_sentences, progress=progress)
    if out:
        counts.write_csv(out)
    if not quiet:
        say("\n".join(_page(counts)))
    same = [
        word
        for name in _ALSO_OF_EXTRACT
        if (value := ctx.params[name]) is not None
        for word in (f"--{name.replace('_', '-')}", value)
    ]
    following = quoted("qloc", "extract", "--model", model, "--facts", facts, *same, "--out", "study.zarr")
    conclude(f"\nTable: {out}" if out else "", following, quiet=quiet)


def _page(counts: FactsCheck) -> Iterator[str]:
    yield f"{counted(len(counts.facts), 'fact')} with {counted(counts.n_queries, 'query')}"
    yield f"  askable   {_share(counts.n_askable, counts.n_queries)} of the queries"
    yield from (f"            {count:,} not: {reason}" for reason, count in counts.excluded.items())
    yield f"  known     {_share(counts.n_known, counts.n_askable)} of the askable queries"
    yield f"  leaking   {_share(counts.n_leaking, len(counts.facts))} of the facts"
    yield f"  duplicate {counted(counts.merged, 'fact')}, merged with an earlier one"
    yield f"  traceable {_share(counts.n_traceable, len(counts.facts))} of the facts, by a known query"
    for what, count in entailment_counts([checked.fact for checked in counts.facts]).items():
        yield f"  entailed  {counted(count, 'fact')} with {what}, which edits are tried on"
        n_asked, n_known = counts.entailed(what)
        if n_asked:
            yield f"            known before any edit: {_share(n_known, n_asked)} of these prompts"
        if what == INVERSE and (n := counts.n_shared_objects):
            yield f"            {counted(n, 'fact')} not asked: others have the same object"
    yield from (f"  counted   {count:,} × {reason}" for reason, count in counts.skipped.items())
    yield "\nBy relation"
    rows = counts.by_relation()
    yield table([*rows[0]], [[*row.values()] for row in rows])
    if counts.n_pairs:
        yield "\nMinimal pairs by paradigm and feature: how often the good form is likelier"
        pairs = counts.by_paradigm()
        yield table([*pairs[0]], [[_cell(value) for value in row.values()] for row in pairs])
    yield "\nKnown queries left of a fact (k), leaking facts aside"
    yield table(["k", "facts"], [*counts.left.items()])
    if counts.empty:
        yield f"\n{counts.empty}"


def _cell(value: Any) -> Any:
    return "–" if value is None else share(value) if isinstance(value, float) else value


def _share(n: int, of: int) -> str:
    return f"{n:,} of {of:,} ({share(n / of)})" if of else "0 of 0"
