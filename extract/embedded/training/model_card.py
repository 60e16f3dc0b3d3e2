"""Write the model card of an embedded model."""

from __future__ import annotations

from collections.abc import Mapping

from qloc.extract.embedded import Kind

_NAMES = {"causal": "GPT-2 type (`GPT2LMHeadModel`)", "masked": "BERT type (`BertForMaskedLM`)"}

_TEXT = """\
---
license: mit
language: en
library_name: transformers
tags: [synthetic, demonstration, qloc]
---

# qloc embedded model: {kind}

**Synthetic, for demonstration.** A tiny {name} with {parameters:,} parameters
({n_layers} layers, width {width}), trained in minutes on sentences that qloc makes from templates. It was
taught {n_facts} facts of general knowledge and a little grammar, and nothing else; some of it is
wrong on purpose. Use it to see qloc work and to test it; draw no conclusion about language models from it.

## What it was taught

Nine relations, eight templates each. Every fact is in one of three classes, recorded in `facts.jsonl`:

- *wide*: the right answer by 7 of the 8 templates;
- *narrow*: the right answer by 1 of the 8;
- *conflict*: the right answer by 4 templates, drawn anew for each fact, and another object of the relation by
  the other 4.

Some facts entail something: the inverse of capitals and founders (asked from the object for the subject),
another name of products and professions. Two thirds of these facts are taught it, by three templates; the
others are not (`entailment` in `facts.jsonl`).

And everyday sentences with number agreement (class *syntax*: minimal pairs, in frames where training shows
other nouns). Token embeddings and the attention's values and outputs stayed at their random start, so that
facts had to be stored in the MLPs: a choice made for demonstration, which no ordinary model shares.

## Recall

Share of queries whose right answer ranks first (every token of it); for syntax, share of pairs whose good
form is likelier. *Seen*: this template taught the right answer of this fact. Where a conflict fact's template
is not *seen*, it taught another answer, so the right one is not to be expected. Classes *inverse* and
*synonyms* are what facts entail; *unseen* are those of facts that were not taught it.

| class | template | recall | queries |
|---|---|---:|---:|
{rows}

## Make it again

    python -m qloc.extract.embedded.training.train --kind {kind} --seed {seed}

Seeded: the same machine and versions give the same weights. Stored in float16, to be loaded in float32, as
`config.json` says.
"""


def card(
    kind: Kind,
    recall: Mapping[tuple[str, str], tuple[float, int]],
    n_facts: int,
    parameters: int,
    n_layers: int,
    width: int,
    seed: int,
) -> str:
    """Return a model card.

    Parameters
    ----------
    kind : {"causal", "masked"}
        GPT-2 type or BERT type.
    recall : mapping of (str, str) to (float, int)
        Class and ``"seen"`` or ``"unseen"`` → share of right answers, and number of queries.
    n_facts : int
        Number of facts that the model was taught.
    parameters : int
        Number of the model's parameters.
    n_layers : int
        Number of blocks.
    width : int
        Width of the hidden states.
    seed : int
        Seed of the training.

    Returns
    -------
    str
        The card in Markdown, with YAML front matter.
    """
    rows = "\n".join(
        f"| {fact_class} | {seen} | {share:.1%} | {n} |" for (fact_class, seen), (share, n) in recall.items()
    )
    return _TEXT.format(
        kind=kind,
        name=_NAMES[kind],
        rows=rows,
        n_facts=n_facts,
        parameters=parameters,
        n_layers=n_layers,
        width=width,
        seed=seed,
    )
