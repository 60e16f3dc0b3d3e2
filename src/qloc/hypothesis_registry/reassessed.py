"""H11 to H14: the Knowledge Neuron thesis re-assessed by syntax, tracing, what edits entail, and flips.

They are part of the registry (:mod:`qloc.hypothesis_registry.registry`).
"""

from __future__ import annotations

from typing import Final

from qloc.hypothesis_registry.hypothesis import Claims, Hypothesis

REASSESSED: Final = (
    Hypothesis(
        name="H11a",
        question="Is syntax more, or less, consistent across sentences than facts are across paraphrases?",
        direction="two-sided",
        phase="signals",
        function="syntax_against_facts",
        claims=Claims(
            more="syntax keeps its neurons across sentences more than facts do across paraphrases",
            equal="syntax keeps its neurons across sentences about as much as facts do across paraphrases",
            less="syntax keeps its neurons across sentences less than facts do across paraphrases",
        ),
        arguments={"outcome": "kappa"},
    ),
    Hypothesis(
        name="H11b",
        question="Do scores of syntax point one way more, or less, than those of facts?",
        direction="two-sided",
        phase="signals",
        function="syntax_against_facts",
        claims=Claims(
            more="the scores of syntax point one way more than those of facts",
            equal="the scores of syntax point one way about as much as those of facts",
            less="the scores of syntax point one way less than those of facts",
        ),
        arguments={"outcome": "level"},
    ),
    Hypothesis(
        name="H11c",
        question="Do the neurons of syntax lie in other layers than those of facts?",
        direction="more",
        phase="signals",
        function="layers_of_syntax",
        claims=Claims(
            more="the neurons of syntax lie in other layers than those of facts",
            equal="the neurons of syntax lie in the same layers as those of facts",
            less="the layers of syntax and of facts are closer to each other than chance makes them",
        ),
    ),
    Hypothesis(
        name="H12a",
        question="Does restoring MLPs bring back more at the subject's last token than at other tokens?",
        direction="more",
        phase="tracing",
        function="restoring_at_subject",
        claims=Claims(
            more="restoring MLPs brings back more at the subject's last token than at other tokens",
            equal="restoring MLPs brings back about as much at the subject's last token as at other tokens",
            less="restoring MLPs brings back less at the subject's last token than at other tokens",
        ),
    ),
    Hypothesis(
        name="H12b",
        question="Do tracing and knowledge neurons name the same layers?",
        direction="more",
        phase="tracing",
        function="layers_of_tracing",
        claims=Claims(
            more="tracing and knowledge neurons rank the layers alike",
            equal="how tracing ranks the layers says next to nothing of where knowledge neurons are",
            less="tracing and knowledge neurons rank the layers in opposite order",
        ),
    ),
    Hypothesis(
        name="H12c",
        question="Do ROME's edits generalize further at the layer that tracing names than at its own?",
        direction="more",
        phase="edits",
        function="rome_at_traced_layer",
        claims=Claims(
            more="ROME's edits generalize further at the layer that tracing names than at its own",
            equal="ROME's edits generalize about as far at the layer that tracing names as at its own",
            less="ROME's edits generalize less far at the layer that tracing names than at its own",
        ),
    ),
    Hypothesis(
        name="H13a",
        question="Do updates of N_i make the inverse of the new object likelier?",
        direction="more",
        phase="entailments",
        function="carries_over",
        claims=Claims(
            more="updates of N_i make the inverse of the new object likelier",
            equal="updates of N_i hardly change how likely the inverse of the new object is",
            less="updates of N_i make the inverse of the new object less likely",
        ),
        arguments={"entailment": "inverse", "edited": "own"},
    ),
    Hypothesis(
        name="H13b",
        question="Do ROME's edits make the inverse of the new object likelier?",
        direction="more",
        phase="entailments",
        function="carries_over",
        claims=Claims(
            more="ROME's edits make the inverse of the new object likelier",
            equal="ROME's edits hardly change how likely the inverse of the new object is",
            less="ROME's edits make the inverse of the new object less likely",
        ),
        arguments={"entailment": "inverse", "edited": "rome"},
    ),
    Hypothesis(
        name="H13c",
        question="Do updates of N_i make the new object's synonyms of another stem likelier?",
        direction="more",
        phase="entailments",
        function="carries_over",
        claims=Claims(
            more="updates of N_i make the new object's synonyms of another stem likelier",
            equal="updates of N_i hardly change how likely the new object's synonyms of another stem are",
            less="updates of N_i make the new object's synonyms of another stem less likely",
        ),
        arguments={"entailment": "synonym", "edited": "own"},
    ),
    Hypothesis(
        name="H13d",
        question="Do ROME's edits make the new object's synonyms of another stem likelier?",
        direction="more",
        phase="entailments",
        function="carries_over",
        claims=Claims(
            more="ROME's edits make the new object's synonyms of another stem likelier",
            equal="ROME's edits hardly change how likely the new object's synonyms of another stem are",
            less="ROME's edits make the new object's synonyms of another stem less likely",
        ),
        arguments={"entailment": "synonym", "edited": "rome"},
    ),
    Hypothesis(
        name="H14a",
        question="Does suppressing N_i take answers from the first rank more often than matched neurons do?",
        direction="more",
        phase="interventions",
        function="flips_beyond_matched",
        claims=Claims(
            more="suppressing N_i takes answers from the first rank more often than matched neurons do",
            equal="suppressing N_i takes answers from the first rank about as often as matched neurons do",
            less="suppressing N_i takes answers from the first rank less often than matched neurons do",
        ),
        arguments={"decision": "first"},
    ),
    Hypothesis(
        name="H14b",
        question="Does suppressing N_i turn minimal pairs round more often than matched neurons do?",
        direction="more",
        phase="interventions",
        function="flips_beyond_matched",
        claims=Claims(
            more="suppressing N_i turns minimal pairs round more often than matched neurons do",
            equal="suppressing N_i turns minimal pairs round about as often as matched neurons do",
            less="suppressing N_i turns minimal pairs round less often than matched neurons do",
        ),
        arguments={"decision": "preferred"},
    ),
)
"""In the order of their numbers."""
