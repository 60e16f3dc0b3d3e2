"""Make the embedded models, their facts and the held-out text again.

    python -m qloc.extract.embedded.training.train [--kind causal|masked] [--out DIR] [--seed 0]

Writes ``facts.jsonl``, ``held_out.txt`` and a folder for each model; without ``--out``, into the package.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import get_args

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from qloc.extract.embedded import Kind, facts_path
from qloc.extract.embedded.training.corpus import (
    fact_lines,
    held_out_sentences,
    lessons,
    training_sentences,
)
from qloc.extract.embedded.training.fit import train
from qloc.extract.embedded.training.model_card import card
from qloc.extract.embedded.training.recall import load, recall_table
from qloc.extract.embedded.training.tokenizer import make_tokenizer


def write_text(out: Path, seed: int = 0) -> None:
    """Write ``facts.jsonl`` and ``held_out.txt``.

    Parameters
    ----------
    out : Path
        The folder to write into.
    seed : int
        Seed of every draw.
    """
    taught = lessons(seed)
    (out / "facts.jsonl").write_text("".join(f"{line}\n" for line in fact_lines(taught)), encoding="utf-8")
    sentences = held_out_sentences(taught, seed)
    (out / "held_out.txt").write_text("".join(f"{line}\n" for line in sentences), encoding="utf-8")


def make(kind: Kind, out: Path, seed: int = 0) -> dict[tuple[str, str], tuple[float, int]]:
    """Train one model, and write it with its tokenizer and card.

    Parameters
    ----------
    kind : {"causal", "masked"}
        GPT-2 type or BERT type.
    out : Path
        Folder that holds ``facts.jsonl``; the model goes into its subfolder ``kind``.
    seed : int
        Seed of every draw.

    Returns
    -------
    dict of (str, str) to (float, int)
        Recall of the stored model, as :func:`qloc.extract.embedded.training.recall.recall_table` gives it.
    """
    # Matrices this small gain little from threads, and the weights depend on their number.
    torch.set_num_threads(1)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    taught = lessons(seed)
    sentences = training_sentences(taught, seed)
    tokenizer = make_tokenizer(kind, sentences)
    model = train(kind, tokenizer, sentences, seed=seed)
    _save(model, tokenizer, out / kind)
    # What is measured is what was stored: rounded to float16, run in float32.
    stored, tokenizer = load(kind, out / kind)
    recall = recall_table(stored, tokenizer, out / "facts.jsonl")
    text = card(
        kind,
        recall,
        n_facts=len(taught),
        parameters=model.num_parameters(),
        n_layers=model.config.num_hidden_layers,
        width=model.config.hidden_size,
        seed=seed,
    )
    (out / kind / "README.md").write_text(text, encoding="utf-8")
    return recall


def _save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Store weights in float16, to be loaded in float32, and a tokenizer for transformers 4 and 5."""
    model.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for path in folder.glob("*.safetensors"):
        path.chmod(0o644)
    for name, changed in (
        ("config", {"dtype": "float32"}),
        ("tokenizer_config", {"tokenizer_class": "PreTrainedTokenizerFast"}),
    ):
        path = folder / f"{name}.json"
        settings = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps({**settings, **changed}, indent=2) + "\n", encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> None:
    """Train the models, and print what each of them recalls.

    Parameters
    ----------
    argv : sequence of str or None
        Command line arguments; those of the process, if None.
    """
    parser = argparse.ArgumentParser(
        prog="python -m qloc.extract.embedded.training.train", description=__doc__
    )
    parser.add_argument("--kind", choices=get_args(Kind), action="append", help="default: both")
    parser.add_argument("--out", type=Path, default=facts_path().parent)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_text(arguments.out, arguments.seed)
    kinds = arguments.kind or list(get_args(Kind))
    with ProcessPoolExecutor(len(kinds), mp_context=get_context("spawn")) as pool:
        tables = list(pool.map(partial(make, out=arguments.out, seed=arguments.seed), kinds))
    for kind, recall in zip(kinds, tables, strict=True):
        sys.stdout.write(f"\n{kind}: {arguments.out / kind}\n")
        for (fact_class, seen), (share, n) in recall.items():
            sys.stdout.write(f"  {fact_class:9} {seen:7} {share:7.1%} of {n}\n")


if __name__ == "__main__":
    main()
