"""Two tiny trained models, the facts that they were taught, and held-out text, as files of the package.

They are synthetic and serve demonstration: it is known what each query of a fact was taught, so an analysis
can be checked against it. Nothing here imports torch. ``python -m qloc.extract.embedded.training.train``
makes the files again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from qloc.errors import InputError, message

Kind = Literal["causal", "masked"]
"""The two models: GPT-2 type and BERT type."""

_HERE = Path(__file__).parent


def checkpoint(kind: Kind) -> Path:
    """Return the folder of an embedded model, for transformers' ``from_pretrained``.

    Parameters
    ----------
    kind : {"causal", "masked"}
        ``"causal"`` is a GPT-2 type, ``"masked"`` a BERT type.

    Returns
    -------
    Path
        The folder with configuration, weights, tokenizer and card.

    Raises
    ------
    InputError
        For any other kind.

    Examples
    --------
    >>> checkpoint("causal").name
    'causal'
    """
    kinds = get_args(Kind)
    if kind not in kinds:
        raise InputError(
            message("embedded model", kind, " or ".join(kinds), "embedded:KIND", f"Use embedded:{kinds[0]}")
        )
    return _HERE / kind


def facts_path() -> Path:
    """Return the file of facts and minimal pairs that both models were taught, a ``facts.jsonl``.

    Returns
    -------
    Path
        The file.

    Examples
    --------
    >>> facts_path().name
    'facts.jsonl'
    """
    return _HERE / "facts.jsonl"


def held_out_path() -> Path:
    """Return the file of sentences of the same language that neither model was trained on, for perplexity.

    Returns
    -------
    Path
        A text file with one sentence on each line.

    Examples
    --------
    >>> held_out_path().name
    'held_out.txt'
    """
    return _HERE / "held_out.txt"
