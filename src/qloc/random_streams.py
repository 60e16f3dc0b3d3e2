"""Random streams by name, so that two kinds of draws from one seed do not share a stream.

A generator's key is ``[seed, stream, *numbers]``, or ``[seed, *numbers, stream]`` where a draw is made for
one query or fact, so that no other query or fact bears on it. numpy pads keys with zeros: ``[7, 41]`` and
``[7, 41, 0]`` are one stream, so a number stands for one member only, even where members take more numbers.
"""

from __future__ import annotations

from enum import Enum, unique
from typing import Literal

import numpy as np


@unique
class Stream(Enum):
    """What is drawn; each member is (number, what its key ends with or begins with)."""

    # Planted studies (qloc.simulation)
    PLANTED_SETS = 0, "study"
    PLANTED_BLOCKS = 1, "study"
    PLANTED_TEMPLATE_STRENGTH = 2, "study"
    PLANTED_FACT_STRENGTH = 3, "study"
    PLANTED_NETWORK = 4, "study"
    PLANTED_POPULARITY = 5, "study"
    PLANTED_INTERVENTIONS = 21, "study"
    PLANTED_SYNAPSES = 22, "study"
    PLANTED_REPROMPTS = 23, "study"
    PLANTED_EDITS = 24, "study"
    PLANTED_ENTAILMENTS = 27, "study"
    PLANTED_DAMAGE_ERROR = 28, "study"
    PLANTED_SET_SIZES = 29, "study"
    PLANTED_HUBS = 31, "study"
    PLANTED_FEW_TEMPLATES = 32, "study"
    PLANTED_TRACING = 35, "study"

    # Tests and descriptions (qloc.analysis)
    BEYOND_TEMPLATE = 25, "study"
    BEYOND_ANSWER = 26, "study"
    INCONSISTENT_SHARE = 30, "study"
    METHOD_AGREEMENT = 40, "study"
    RELIABILITY_SPLITS = 41, "study"
    RELIABILITY_PERMUTATIONS = 42, "study"
    KINDS_SAMPLE = 43, "study"
    KINDS_BOOTSTRAP = 44, "study"
    MODEL_DIFFERENCES = 45, "study"
    VARIANCE_COMPONENTS = 46, "study"
    BAYES_COMPONENTS = 47, "study"
    SHOWN_FACTS = 50, "study"
    TYPICAL_FACT = 51, "study"
    EXPLORED_FACTS = 52, "study"
    VIEWED_FACTS = 54, "study"
    SLOPES = 60, "study"
    MULTIVERSE_FACTS = 61, "study"
    SPECIFICATION_CURVE = 62, "study"
    OWN_AGAINST_MATCHED = 70, "study"
    OWN_AGAINST_OTHER_FACT = 71, "study"
    BEYOND_REPROMPT = 72, "study"
    USERS_SETS_AGAINST_CONTROL = 74, "study"
    PAIRED = 73, "study"
    SYNAPSES_ACTIVATION = 80, "study"
    SYNAPSES_ANSWER = 81, "study"
    ERASE_AGAINST_MATCHED = 90, "study"
    UPDATE_AGAINST_MATCHED = 91, "study"
    CAS_AGAINST_OWN_TOP = 92, "study"
    CAS_AGAINST_UNION_TOP = 93, "study"
    OWN_CARRIES_TO_INVERSE = 94, "study"
    ROME_CARRIES_TO_INVERSE = 95, "study"
    OWN_CARRIES_TO_SYNONYM = 96, "study"
    ROME_CARRIES_TO_SYNONYM = 97, "study"
    CAS_AGAINST_OWN = 98, "study"
    CAS_AT_EQUAL_DAMAGE = 99, "study"
    INTERVENTION_SCREEN = 100, "study"
    CAS_AGAINST_UNION = 101, "study"
    CAS_AGAINST_NO_PENALTY = 102, "study"
    SYNAPSE_SCREEN = 110, "study"
    EDIT_SCREEN = 120, "study"
    ENTAILMENT_SCREEN = 125, "study"
    TRACING_SITE = 130, "study"
    TRACING_LAYERS = 131, "study"
    ROME_AT_TRACED_LAYER = 132, "study"
    SYNTAX = 140, "study"
    SYNTAX_LAYER_GROUPS = 141, "study"
    FLIPS_OF_ANSWERS = 150, "study"
    FLIPS_OF_PAIRS = 151, "study"
    FLIP_SCREEN = 152, "study"
    WORD_SCREEN = 153, "study"
    EDITED_WORD_SCREEN = 154, "study"
    EDITED_PAIR_SCREEN = 155, "study"
    SYNAPSE_WORD_SCREEN = 156, "study"

    # Negative controls (qloc.extract)
    PERMUTED_WEIGHTS = 160, "study"
    PERMUTED_FACTS = 161, "study"

    # Choices for one query or fact (analysis.interventions.choosing_neurons, analysis.editing.choosing_edits)
    NEIGHBOR = 1, "item"
    OTHER_FACT = 2, "item"
    ASKED_AGAIN = 3, "item"
    OWN_SET_CONTROL = 4, "item"
    EDITED_QUERY = 11, "item"
    HELD_OUT_QUERIES = 12, "item"
    NEW_OBJECT = 13, "item"
    PROBES = 14, "item"
    EDITED_FACTS = 15, "item"
    TRACED_QUERIES = 16, "item"
    TRACED_FACTS = 17, "item"

    # Corruptions of one query (qloc.extract.tracing)
    TRACING_NOISE = 18, "item"
    TRACING_SUBJECT = 19, "item"

    def __init__(self, number: int, of: Literal["study", "item"]) -> None:
        self.number = number
        self.of = of

    def generator(self, seed: int, *numbers: int) -> np.random.Generator:
        """Return this stream's generator for a seed.

        Parameters
        ----------
        seed : int
            The study's, the plan's or the user's.
        *numbers : int
            What one stream is divided by, such as a relation, a unit or a fact; not negative.

        Returns
        -------
        numpy.random.Generator
            Equal for equal arguments.

        Examples
        --------
        >>> first, again = (Stream.PROBES.generator(0, 7).integers(1000) for _ in range(2))
        >>> bool(first == again)
        True
        """
        key = [seed, self.number, *numbers] if self.of == "study" else [seed, *numbers, self.number]
        return np.random.default_rng(key)
