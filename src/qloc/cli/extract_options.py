"""The options of ``qloc extract``, with the headings that its help lists them under.

All are texts here: the plan reads them, and says all that is wrong with them at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

_WHAT: Final = "Model, facts and store"
_HOW: Final = "What is computed"
_KEPT: Final = "What is kept"
_RUN: Final = "How it runs"


def _option(heading: str, flag: str, metavar: str | None, text: str) -> Any:
    return typer.Option(flag, metavar=metavar, help=text, rich_help_panel=heading, show_default=False)


Out = Annotated[Path | None, _option(_WHAT, "--out", "STORE", "The store to write or go on with. Required.")]
Model = Annotated[
    str | None,
    _option(
        _WHAT,
        "--model",
        "MODEL",
        "Hugging Face id, checkpoint's folder, .gguf file, embedded:causal or embedded:masked. Required.",
    ),
]
SOURCES: Final = (
    "A facts.jsonl or .csv, pararel:DIR, entailed:DIR, blimp:FILE_OR_DIR, counterfact:FILE, zsre:FILE, "
    "hf:NAME or embedded."
)
Facts = Annotated[
    str | None,
    _option(
        _WHAT,
        "--facts",
        "FACTS",
        f"{SOURCES} Required.",
    ),
]
PlanFile = Annotated[
    Path | None,
    _option(
        _WHAT, "--plan", "FILE", "YAML with any of these options, such as `steps: 40`; flags override it."
    ),
]
Revision = Annotated[
    list[str] | None,
    _option(
        _WHAT,
        "--revision",
        "NAME",
        "Branch, tag or commit of the model on the hub; several, by commas or repeated, give a store each: "
        "--out is their folder then, and the stores are NAME.zarr in it.",
    ),
]
Blocks = Annotated[
    str | None,
    _option(
        _WHAT,
        "--blocks",
        "PATH",
        "Where a model that qloc does not know keeps its list of blocks, such as transformer.h; with --down.",
    ),
]
Down = Annotated[
    str | None,
    _option(_WHAT, "--down", "PATH", "The MLP's down-projection within a block, such as mlp.c_proj."),
]
Relations = Annotated[str | None, _option(_WHAT, "--relations", "P36,P39", "Only these relations.")]
MaxFacts = Annotated[
    str | None, _option(_WHAT, "--max-facts", "N", "At most N facts of each relation, drawn with --seed.")
]
Pairs = Annotated[
    str | None,
    _option(
        _WHAT,
        "--pairs",
        "feature|cue|item|single",
        "Group minimal pairs by paradigm and feature, such as singular; and by what the form agrees with "
        "(cue), or also by the form (item). A group is one fact, its sentences are its queries. "
        "Unless given: feature where the facts are blimp:, else single.",
    ),
]
PairQueries = Annotated[
    str | None,
    _option(
        _WHAT,
        "--pair-queries",
        "N",
        "At most N sentences of a group, drawn by the seed. [default: 20]",
    ),
]
Seed = Annotated[str | None, _option(_WHAT, "--seed", "N", "Of all that is drawn. [default: 0]")]

Methods = Annotated[
    str | None,
    _option(
        _HOW,
        "--methods",
        "LIST",
        "Attribution, by commas: ig, ig_mean, amig, amig_mean_path, sig, grad_x_act, or module:function of "
        "your own. amig takes as many paths as the prompt has tokens. [default: ig]",
    ),
]
Steps = Annotated[
    str | None,
    _option(
        _HOW,
        "--steps",
        "N",
        "Gradients along each path, 20 unless told; of certified and adaptive (8) those it starts with. "
        "[default: 4]",
    ),
]
QuadratureRule = Annotated[
    str | None,
    _option(
        _HOW,
        "--quadrature",
        "RULE",
        "certified (gradients where the error bound asks for them), midpoint, right (as published), left, "
        "endpoints, gauss, adaptive. [default: certified]",
    ),
]
QuadratureError = Annotated[
    str | None,
    _option(
        _HOW,
        "--quadrature-error",
        "SHARE",
        "certified goes on until the error bound of every attribution that could reach the floor is within "
        "this share of the query's largest. [default: 0.001]",
    ),
]
QuadratureThresholds = Annotated[
    str | None,
    _option(
        _HOW,
        "--quadrature-thresholds",
        "LIST",
        "certified goes on, to a 64th of the error asked for, where a neuron is within its bound of one of "
        "these shares of the query's largest, to tell whether it is in the set at this threshold; none "
        "switches that off. [default: 0.1,0.2,0.3]",
    ),
]
GapTolerance = Annotated[
    str | None,
    _option(
        _HOW,
        "--gap-tolerance",
        "SHARE",
        "adaptive doubles the gradients of a layer's path, at most three times, while its completeness gap "
        "is larger. [default: 0.002]",
    ),
]
SiteName = Annotated[
    str | None,
    _option(
        _HOW,
        "--site",
        "mlp_post|mlp_pre",
        "What a neuron is: an input of the MLP's down-projection, or (as others read it, for comparison) of "
        "its activation function. [default: mlp_post]",
    ),
]
PairTargetName = Annotated[
    str | None,
    _option(
        _HOW,
        "--target",
        "good|bad|contrast",
        "Of minimal pairs: P(good), P(bad) or P(good) − P(bad). Facts keep their answer; without any minimal "
        "pair, bad and contrast are refused. [default: good]",
    ),
]
AnswerTokens = Annotated[
    str | None,
    _option(_HOW, "--answer-tokens", "all|first", "Which tokens of an answer count. [default: all]"),
]
Phases = Annotated[
    str | None,
    _option(
        _HOW,
        "--phases",
        "LIST",
        "What to extract, by commas: signals, interventions, edits, tracing. "
        "[default: signals,interventions,edits]",
    ),
]
Sets = Annotated[
    str | None,
    _option(_HOW, "--sets", "FILE", "JSON with neuron sets of your own, to be intervened on as well."),
]
Probes = Annotated[
    str | None,
    _option(
        _HOW,
        "--probes",
        "WORDS",
        "Words, by commas, whose log P is kept after each arm and edit, with that of minimal pairs' bad "
        "continuations; candidates: the 16 most frequent answers of the relation. Unless given: none.",
    ),
]

TierName = Annotated[
    str | None,
    _option(
        _KEPT,
        "--tier",
        "panel|dense",
        "The neurons that matter to their fact, or all of the network (large). [default: panel]",
    ),
]
Floor = Annotated[
    str | None,
    _option(
        _KEPT,
        "--floor",
        "SHARE",
        "Keep a neuron from this share of a query's maximum; analyses may use thresholds from here up. "
        "[default: 0.05]",
    ),
]
Capacity = Annotated[
    str | None, _option(_KEPT, "--capacity", "N", "At most N neurons a fact. [default: 4096]")
]
StoreDtype = Annotated[
    str | None,
    _option(_KEPT, "--store-dtype", "DTYPE", "Of the signals: float32, float64. [default: float32]"),
]

Device = Annotated[
    str | None,
    _option(
        _RUN, "--device", "DEVICE", "auto, cpu, cuda:0 …, or map: the model over all GPUs. [default: auto]"
    ),
]
DtypeName = Annotated[
    str | None,
    _option(
        _RUN,
        "--dtype",
        "DTYPE",
        "Of the model: auto (the checkpoint's), float32, float64, bfloat16, float16. [default: auto]",
    ),
]
Memory = Annotated[
    str | None,
    _option(_RUN, "--memory", "SIZE", "What a batch may take; part of the fingerprint. [default: 8GB]"),
]
Threads = Annotated[
    str | None,
    _option(
        _RUN,
        "--threads",
        "N",
        "CPU threads of one process: sums round by them, so they are part of the fingerprint. [default: 2]",
    ),
]
Workers = Annotated[
    str | None,
    _option(
        _RUN,
        "--workers",
        "N",
        "Run units in N processes of this machine, one a GPU where there are GPUs. The store is the same.",
    ),
]
Cluster = Annotated[
    str | None,
    _option(
        _RUN, "--cluster", "ADDRESS", "Run units in the workers of a dask scheduler: its address or its file."
    ),
]
UnitFacts = Annotated[
    str | None, _option(_RUN, "--unit-facts", "N", "Facts between two saves. [default: 32]")
]
ShardText = Annotated[
    str | None,
    _option(
        _RUN,
        "--shard",
        "K/N",
        "Run the K-th of N parts of the units, as one job of an array, into a store of its own; then "
        "qloc store merge makes one store of all parts.",
    ),
]
Signals = Annotated[
    Path | None,
    _option(
        _RUN,
        "--signals",
        "STORE",
        "With --shard: the store merged from the signals of all shards, which interventions and edits are "
        "chosen from. They wait until it is given.",
    ),
]
PrintPlan = Annotated[
    bool, typer.Option("--print-plan", help="Print the whole plan as YAML, every default in it; run nothing.")
]
DryRun = Annotated[
    bool,
    _option(
        _RUN,
        "--dry-run",
        None,
        "Write nothing; tell queries, units, bytes, memory and the time of every phase that is left.",
    ),
]
