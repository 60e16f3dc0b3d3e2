"""Question 5, in which layers the knowledge neurons are."""

from __future__ import annotations

import numpy as np
import pandas as pd

from qloc.analysis.localization.layer_profile import layer_profile
from qloc.analysis.questions.context import PAIR, AnalysisContext
from qloc.analysis.results import Question, Table
from qloc.analysis.wording import percent
from qloc.neurons import NeuronSets


def layers_question(asked: AnalysisContext) -> Question:
    """Layer profiles of facts and of minimal pairs."""
    frame = profile_frame(asked)
    return Question(
        id="layers",
        title="In which layers are the knowledge neurons?",
        answer=_answer(frame, asked.sets.n_layers),
        tables=(
            Table.from_frame(
                frame,
                name="layer_profile",
                title="Knowledge neurons by layer",
                labels={
                    "share": "share of a query's knowledge neurons",
                    "neurons": "neurons a query",
                    "facts": "facts or pairs",
                },
                note="Means over queries, then facts; intervals are cluster-robust by relation and answer.",
            ),
        ),
        method=(
            "Share of |N_i| in each layer, averaged over a fact's known queries, then over facts. Minimal "
            "pairs count where the good continuation is likelier than the bad one. Descriptive: no test."
        ),
        references=("Dai et al. 2022, Knowledge Neurons in Pretrained Transformers, arXiv 2104.08696, §4.",),
    )


def profile_frame(asked: AnalysisContext) -> pd.DataFrame:
    """``group, layer, share, low, high, neurons, facts``."""
    parts = []
    for group, sets in groups(asked).items():
        profile = layer_profile(sets, confidence=asked.plan.confidence)
        profile.insert(0, "group", group)
        if len(profile):
            parts.append(profile)
    if not parts:
        return pd.DataFrame(columns=["group", "layer", "share", "low", "high", "neurons", "facts"])
    return pd.concat(parts, ignore_index=True)


def groups(asked: AnalysisContext) -> dict[str, NeuronSets]:
    """Known queries of facts, and minimal pairs whose good continuation the model prefers."""
    queries = asked.sets.queries
    pair = queries["kind"] == PAIR
    preferred = queries.get("preferred", queries["known"])
    leaks = asked.sets.facts["leaks"][queries["fact"]]
    return {
        "facts": asked.sets.select(queries["known"] & ~pair & ~leaks),
        "minimal pairs": asked.sets.select(preferred & pair),
    }


def _answer(frame: pd.DataFrame, n_layers: int) -> str:
    sentences = []
    for group in frame.group.unique():
        here = frame[frame.group == group]
        best = here.iloc[int(np.argmax(here.share.to_numpy(dtype=float)))]
        upper = float(here[here.layer >= n_layers / 2].share.sum())
        sentences.append(
            f"For {group}, layer {int(best.layer)} of 0–{n_layers - 1} holds the most, "
            f"{percent(float(best.share))}; the upper half of the layers holds {percent(upper)}."
        )
    return " ".join(sentences) or "No known query has knowledge neurons, so there is no profile."
