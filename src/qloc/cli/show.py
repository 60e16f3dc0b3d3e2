"""``qloc show``: one fact, as a page of text."""

from __future__ import annotations

from typing import Annotated

import typer

from qloc.cli.shared import conclude, quoted, say


def show(
    store: Annotated[str, typer.Argument(metavar="STORE", help="A store, packed or not, or the URL of one.")],
    fact: Annotated[
        list[str],
        typer.Argument(metavar="FACT", help="A subject, an id, or a part of one; no quotes needed."),
    ],
    method: Annotated[str, typer.Option("--method", metavar="NAME", help="Attribution method.")] = "ig",
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", metavar="T", help="Attribution > T · maximum. [default: 0.2]"),
    ] = None,
) -> None:
    """Show one fact: its queries, its knowledge neurons, its scores, and what changing them did.

    Of every query: whether the model knows the answer, log P and rank of the answer, and the size of its set
    of knowledge neurons. Of the fact: in how many of its known queries each neuron is (c_n), and CS1, CS2, D
    and κ. A neuron is written L3.N20: layer 3, neuron 20, counted from 0. Where the store has them:
    interventions and edits. `qloc facts list STORE` lists what there is.

    \b
    Examples:
      qloc show gpt2.zarr France
      qloc show gpt2.zarr New Zealand
      qloc show gpt2.zarr P36-17 --threshold 0.3
    """  # noqa: D301  (typer keeps what follows \b as it is)
    from qloc.workflows.analyze import open_study
    from qloc.workflows.show import fact_text

    text, whole = fact_text(open_study(store), " ".join(fact), method=method, threshold=threshold)
    if whole:
        conclude(text, quoted("qloc", "analyze", store))
    else:
        say(text)
        conclude("", f"{quoted('qloc', 'show', store)} with one of these")
