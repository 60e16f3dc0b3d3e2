"""The words that all rooms share: dimension names, and what counts as missing.

``attribution_method`` is not called ``method`` because a dimension of that name collides with
``xarray.Dataset.sel(method=…)``.
"""

from __future__ import annotations

from typing import Final

METHOD: Final = "attribution_method"
QUERY: Final = "query"
FACT: Final = "fact"
LAYER: Final = "layer"
NEURON: Final = "neuron"
SLOT: Final = "slot"
HEAD: Final = "head"
TOKEN: Final = "token"
ANSWER_TOKEN: Final = "answer_token"
TOP: Final = "top"
CANDIDATE: Final = "candidate"
QUERY_OF_FACT: Final = "query_of_fact"
RELATION: Final = "relation"
OPERATION: Final = "operation"
NEURON_SET: Final = "neuron_set"
SYNAPSE_OPERATION: Final = "synapse_operation"
SYNAPSE_SET: Final = "synapse_set"
EDIT_OPERATION: Final = "edit_operation"
EDIT_SET: Final = "edit_set"
PROBE: Final = "probe"
WORD: Final = "word"
VIEW: Final = "view"
STEP: Final = "step"
ENTAILED: Final = "entailed"
GENERATED: Final = "generated"
TRACING_PART: Final = "tracing_part"
TOKEN_ROLE: Final = "token_role"
CORRUPTION: Final = "corruption"
PLACE: Final = "place"
VOCABULARY: Final = "vocabulary"

N_PLACES: Final = 10
"""Tokens that are kept of each neuron: so many that it promotes most, and as many that it suppresses most."""

PAIR: Final = "minimal_pair"
"""Kind of the queries that are minimal pairs."""

PERMUTED: Final = "permuted:"
"""Before the name of a model, or of facts, that is a negative control: weights or objects are permuted."""

NO_INDEX: Final = -1
"""Missing integer: no panel neuron in this slot, no such answer token."""

FACT_COLUMNS: Final = (
    *("CS1", "CS2", "D", "kappa", "kappa_same_answer", "k", "n_neurons", "mean_size"),
    *("agreement", "candidate_agreement", "log_probability", "known_share", "n_tokens"),
    *("template_agreement", "template_log_probability", "answer_count", "template_kappa"),
    "kappa_error",
)
"""Columns that formulas have of each fact; no attribute may be called so."""

DEFAULT_THRESHOLD: Final = 0.2
"""KN threshold t of Dai et al. 2022: attribution > t · max over the whole network."""

GAP_TOLERANCE: Final = 0.05
"""Completeness gap above which reports flag a query (default of ours, unverified)."""
