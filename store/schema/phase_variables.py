"""The schema of statistics by relation, interventions, edits and tracing, as frozen data.

Like :mod:`qloc.store.schema.variables`, this is part of the contract that docs/store.md describes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from qloc.store.schema.variables import NEURONS, STRING, Variable, variables
from qloc.vocabulary import (
    CORRUPTION,
    EDIT_OPERATION,
    EDIT_SET,
    ENTAILED,
    FACT,
    GENERATED,
    HEAD,
    LAYER,
    NEURON,
    NEURON_SET,
    OPERATION,
    PROBE,
    QUERY,
    QUERY_OF_FACT,
    RELATION,
    STEP,
    SYNAPSE_OPERATION,
    SYNAPSE_SET,
    TOKEN,
    TOKEN_ROLE,
    TRACING_PART,
    VIEW,
    WORD,
)

_R, _RLN = (RELATION,), (RELATION, LAYER, NEURON)
STATISTICS: Final = variables(
    "statistics",
    {
        "activation_sum": (_RLN, "float32", "Σ of the activation over all queries of the relation"),
        "activation_square_sum": (_RLN, "float32", "Σ of its square over the same"),
        "n_queries": (_R, "int32", "how many queries that are"),
        "relation": (_R, STRING, "the relation"),
    },
)
"""Written with signals; summed in float64."""
OF_ALL_UNITS: Final = (STATISTICS[0].group, NEURONS[0].group)
"""Groups of signals no row of which belongs to one unit: they are gathered when all units are there."""

_Q, _F, _FK = (QUERY,), (FACT,), (FACT, QUERY_OF_FACT)
_OSQ, _SQ = (OPERATION, NEURON_SET, QUERY), (NEURON_SET, QUERY)
_SOQ, _SSQ = (SYNAPSE_OPERATION, SYNAPSE_SET, QUERY), (SYNAPSE_SET, QUERY)
_EFK, _EFP = (EDIT_OPERATION, EDIT_SET, FACT, QUERY_OF_FACT), (EDIT_OPERATION, EDIT_SET, FACT, PROBE)
_EF, _FP = (EDIT_OPERATION, EDIT_SET, FACT), (FACT, PROBE)

_OUTCOMES: Final = {
    "log_probability": ("float32", "log P(answer) after the change, nats: the sum over its tokens"),
    "logit": ("float32", "logit of the answer token after the change, mean over answer tokens"),
    "margin": ("float32", "logit margin to the best other token after the change, mean over answer tokens"),
    "rank": ("int32", "rank of the answer after the change, from 1: the worst over its tokens"),
    "argmax": ("int32", "token id of the best token at the first target after the change"),
}


_FURTHER: Final = {
    "bad_log_probability": ((), "float32", "log P of the pair's bad continuation, nats; NaN where none is"),
    "word_log_probability": (
        (WORD,),
        "float32",
        "log P of the relation's probe words (named in the attributes of the group), nats; NaN where a word "
        "cannot be asked",
    ),
}
"""Of further answers to the same queries; there where a plan asks for probes."""


def _further(before: tuple[str, ...], after: tuple[str, ...]) -> dict[str, tuple[tuple[str, ...], str, str]]:
    """Return the variables of further answers, with nothing changed and after the change."""
    return {
        f"{prefix}{name}": ((*dims, *own), dtype, f"{meaning}; {when}")
        for name, (own, dtype, meaning) in _FURTHER.items()
        for prefix, dims, when in (("", after, "after"), ("base_", before, "before"))
    }


def _labels(*dims: str) -> dict[str, tuple[tuple[str, ...], str, str]]:
    return {dim: ((dim,), STRING, f"label of the {dim.replace('_', ' ')}") for dim in dims}


_PER_QUERY: Final = {
    "fact": (_Q, "int32", "index into /facts"),
    "relation": (_Q, STRING, "relation of the fact"),
    "template": (_Q, STRING, "id of the template"),
}
INTERVENTIONS: Final = variables(
    "interventions",
    {
        **{name: (_OSQ, dtype, meaning) for name, (dtype, meaning) in _OUTCOMES.items()},
        "n_neurons": (_SQ, "int32", "neurons changed"),
        "strength": (_SQ, "float32", "Σ of |activation| · ‖row of W_out‖ over them, before the change"),
        **{
            f"base_{name}": (_Q, dtype, meaning.replace("after the change", "with nothing changed"))
            for name, (dtype, meaning) in _OUTCOMES.items()
        },
        **_further(_Q, _OSQ),
        "neighbor": (_Q, "int32", "the query whose set is N_j; -1 where the fact has one query"),
        "other_fact": (
            _Q,
            "int32",
            "the query of another subject, asked with the same template, with another answer; -1 where none",
        ),
        **_PER_QUERY,
        **_labels(OPERATION, NEURON_SET),
    },
)
SYNAPSES: Final = variables(
    "synapses",
    {
        **{name: (_SOQ, dtype, meaning) for name, (dtype, meaning) in _OUTCOMES.items()},
        "activation_effect": (_SOQ, "float32", "Σ(a′ − a)·sign(a) / Σ|a| over the query's neurons N_i"),
        "matched_effect": (_SOQ, "float32", "the same over neurons matched to N_i"),
        **{name: of for name, of in _further((), _SOQ).items() if not name.startswith("base_")},
        "n_columns": (_SSQ, "int32", "cells (layer, head, token) whose column is changed"),
        "removed_mass": (_SSQ, "float32", "attention in these columns"),
        **_PER_QUERY,
        **_labels(SYNAPSE_OPERATION, SYNAPSE_SET),
    },
)

_QV: Final = (QUERY, VIEW)
_SUPPRESSED: Final = "with the query's knowledge synapses suppressed, mean over answer tokens"
SYNAPSE_VIEWS: Final = variables(
    "synapse_views",
    {
        "viewed_neuron": (
            _QV,
            "int32",
            "layer · n_neurons + index of a neuron, ascending; -1 behind the last",
        ),
        "activation": (_QV, "float32", f"input of the MLP's down-projection at the target, {_SUPPRESSED}"),
        "gradient": (
            _QV,
            "float32",
            f"gradient of the answer token's probability at that activation, {_SUPPRESSED}",
        ),
        "synapse": (
            (QUERY, LAYER, HEAD, TOKEN),
            "int8",
            "1 where the column is a knowledge synapse (last answer token's pass), else 0; -1 where not told",
        ),
        "token_text": ((QUERY, TOKEN), STRING, "text of each token of that pass; empty where not told"),
        **_PER_QUERY,
    },
)

REPROMPTS: Final = variables(
    "reprompts",
    {
        "n_neurons": (_Q, "int32", "neurons of N_i′, of the query asked again; -1 where it was not"),
        "n_shared": (_Q, "int32", "those of them that N_i has too; -1 where it was not"),
        "log_probability": (_Q, "float32", "log P(answer) of the query asked again, nats"),
        "rank": (_Q, "int32", "rank of the answer, asked again, from 1: the worst over its tokens"),
        **_PER_QUERY,
    },
)

_OF_QUERIES: Final = {
    "log_probability": ("float32", "log P(o | query), nats, o being the fact's object"),
    "rank": ("int32", "rank of o, from 1"),
    "argmax": ("int32", "token id of the best token at the first target"),
    "new_log_probability": ("float32", "log P(o′ | query), nats, o′ being the new object"),
    "new_rank": ("int32", "rank of o′, from 1"),
}
_OF_PROBES: Final = {
    "probe_log_probability": ("float32", "log P(answer | probe), nats"),
    "probe_argmax": ("int32", "token id of the best token at the probe's first target"),
}
EDITS: Final = variables(
    "edits",
    {
        "edited_query": (_F, "int32", "the query that is edited; -1 where there is none"),
        "new_object": (
            _F,
            STRING,
            "o′: another object of the relation; of a pair, the edited sentence's bad form",
        ),
        "held_out": (_FK, "int8", "1 where the query's template was not used for the sets, 0 where it was"),
        "n_slots": ((EDIT_SET, FACT), "int32", "rows of down-projections edited"),
        "strength": (
            (EDIT_SET, FACT),
            "float32",
            "Σ of |activation at the edited query| · ‖row‖ over them; NaN where an edit has no slots",
        ),
        "value_loss": (
            (EDIT_SET, FACT),
            "float32",
            "−log P(o′) + KL at the value that ROME writes, nats; NaN for other edits. Finite without slots: "
            "no value was better than what the layer gives",
        ),
        **{name: (_EFK, dtype, f"{meaning}; after") for name, (dtype, meaning) in _OF_QUERIES.items()},
        **{
            f"base_{name}": (_FK, dtype, f"{meaning}; before")
            for name, (dtype, meaning) in _OF_QUERIES.items()
        },
        **_further(_FK, _EFK),
        "probe_query": (_FP, "int32", "a known query of another subject, to tell locality; -1 where none"),
        "probe_kind": (_FP, STRING, "same or other answer and relation, such as same_answer_same_relation"),
        **{name: (_EFP, dtype, f"{meaning}; after") for name, (dtype, meaning) in _OF_PROBES.items()},
        "probe_kl": (
            _EFP,
            "float32",
            "KL(before ‖ after) of the next token at the probe's first target, nats",
        ),
        **{
            f"base_{name}": (_FP, dtype, f"{meaning}; before")
            for name, (dtype, meaning) in _OF_PROBES.items()
        },
        "text_nats": (_EF, "float32", "nats per token on held-out text, after less before"),
        "text_nats_first": (_EF, "float32", "the same on the first half of its predicted tokens"),
        "text_nats_second": (_EF, "float32", "the same on the second half of them"),
        "base_text_nats": (_F, "float32", "nats per token on held-out text, before"),
        "greedy_token_id": ((*_EF, STEP), "int32", "tokens that follow the edited query's prompt, greedily"),
        "relation": (_F, STRING, "relation of the fact"),
        **_labels(EDIT_OPERATION, EDIT_SET),
    },
)

_EFN, _FN = (*_EF, ENTAILED), (FACT, ENTAILED)
_OF_ENTAILED: Final = {
    "log_probability": ("float32", "log P(a | prompt), nats, a being the answer before the edit"),
    "rank": ("int32", "rank of a, from 1"),
    "new_log_probability": ("float32", "log P(a′ | prompt), nats, a′ being the answer that the edit entails"),
    "new_rank": ("int32", "rank of a′, from 1"),
}
ENTAILMENTS: Final = variables(
    "entailments",
    {
        "kind": (
            _FN,
            STRING,
            "new_inverse, old_inverse, synonym, synonym_of_stem or neighborhood; empty where no prompt is",
        ),
        "partner": (
            _F,
            "int32",
            "the fact of the object o′, edited to o along with this one in inverse prompts; -1 where none is",
        ),
        **{name: (_EFN, dtype, f"{meaning}; after") for name, (dtype, meaning) in _OF_ENTAILED.items()},
        **{
            f"base_{name}": (_FN, dtype, f"{meaning}; before")
            for name, (dtype, meaning) in _OF_ENTAILED.items()
        },
        "generated_token_id": (
            (*_EF, GENERATED, STEP),
            "int32",
            "tokens that follow the first new inverse, synonym or text, greedily; -1 where there is none",
        ),
        "base_generated_token_id": ((FACT, GENERATED, STEP), "int32", "the same with nothing edited"),
        "relation": (_F, STRING, "relation of the fact"),
        **_labels(EDIT_OPERATION, EDIT_SET, GENERATED),
    },
)

_PRLCQ = (TRACING_PART, TOKEN_ROLE, LAYER, CORRUPTION, QUERY)
_CQ = (CORRUPTION, QUERY)
_RESTORED: Final = "of the corrupted pass with one position restored, mean over the role's tokens"
TRACING: Final = variables(
    "tracing",
    {
        "log_odds": (
            _PRLCQ,
            "float32",
            f"log P(answer) − log(1 − P) {_RESTORED}, nats; of minimal pairs log P(good) − log P(bad)",
        ),
        "probability": (_PRLCQ, "float32", f"P(answer) {_RESTORED}; of minimal pairs P(good) of the two"),
        "corrupted_log_odds": (_CQ, "float32", "log-odds of the answer with nothing restored, nats"),
        "corrupted_probability": (_CQ, "float32", "P(answer) with nothing restored"),
        "clean_log_odds": (_Q, "float32", "log-odds of the answer in the clean pass; NaN where not traced"),
        "clean_probability": (_Q, "float32", "P(answer) in the clean pass"),
        "n_role_tokens": ((TOKEN_ROLE, QUERY), "int32", "tokens of the role; -1 where not traced"),
        "other_subject": (_Q, "int32", "the fact whose subject takes the subject's place; -1 where none"),
        **_PER_QUERY,
        **_labels(TRACING_PART, TOKEN_ROLE, CORRUPTION),
    },
)

PHASES: Final[Mapping[str, tuple[Variable, ...]]] = {
    "interventions": (*INTERVENTIONS, *SYNAPSES, *SYNAPSE_VIEWS, *REPROMPTS),
    "edits": (*EDITS, *ENTAILMENTS),
    "tracing": TRACING,
}
"""What each phase after ``signals`` appends."""

ADDED: Final = frozenset(
    {
        *("synapse_views", "reprompts", "entailments"),
        *("interventions/strength", "edits/strength", "edits/value_loss"),
        *(f"{group}/{name}" for group in ("interventions", "edits") for name in _further((), ())),
        *(f"synapses/{name}" for name in _FURTHER),
        *("edits/text_nats_first", "edits/text_nats_second"),
    }
)
"""Groups and variables that a phase has only where its layout names them, which older stores' do not."""

LABELLED: Final = (
    *(OPERATION, NEURON_SET, SYNAPSE_OPERATION, SYNAPSE_SET, EDIT_OPERATION, EDIT_SET, GENERATED),
    *(TRACING_PART, TOKEN_ROLE, CORRUPTION),
)
"""Axes with labels of their own."""

COPIED: Final[Mapping[str, str]] = {
    **{
        f"{group}/{name}": f"queries/{name}"
        for group in ("interventions", "synapses", "synapse_views", "reprompts", "tracing")
        for name in _PER_QUERY
    },
    "edits/relation": "facts/relation",
    "entailments/relation": "facts/relation",
}
"""Coordinates that a phase repeats from what is there: groups inherit nothing from each other."""

PHASE_COORDINATES: Final[Mapping[str, tuple[str, ...]]] = {
    "statistics": (RELATION,),
    "interventions": (*_PER_QUERY, OPERATION, NEURON_SET),
    "synapses": (*_PER_QUERY, SYNAPSE_OPERATION, SYNAPSE_SET),
    "synapse_views": tuple(_PER_QUERY),
    "reprompts": tuple(_PER_QUERY),
    "edits": (RELATION, EDIT_OPERATION, EDIT_SET),
    "entailments": (RELATION, EDIT_OPERATION, EDIT_SET, GENERATED),
    "tracing": (*_PER_QUERY, TRACING_PART, TOKEN_ROLE, CORRUPTION),
}
