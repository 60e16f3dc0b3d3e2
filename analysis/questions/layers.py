"""The question "In which layers are the knowledge neurons?"."""

from __future__ import annotations

import numpy as np
import pandas as pd

from qloc.analysis.localization.layer_profile import layer_profile
from qloc.analysis.questions.context import AnalysisContext
from qloc.analysis.results import Question, Table
from qloc.analysis.wording import percent
from qloc.neurons import NeuronSets
from qloc.references import cited
from qloc.vocabulary import PAIR


def layers_question(context: AnalysisContext) -> Question:
    """Report layer profiles of facts and of minimal pairs.

    Parameters
    ----------
    context : AnalysisContext
        The study and its plan.

    Returns
    -------
    Question
        With its sentence, tests and tables.
    """
    frame = profile_frame(context)
    return Question(
        id="layers",
        title="In which layers are the knowledge neurons?",
        answer=_answer(frame, context.sets.n_layers),
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
        references=cited("dai2022", where="§4"),
    )


def profile_frame(context: AnalysisContext) -> pd.DataFrame:
    """Return the layer profile of each group of queries.

    Parameters
    ----------
    context : AnalysisContext
        The study and its plan.

    Returns
    -------
    pandas.DataFrame
        ``group, layer, share, low, high, neurons, facts``.
    """
    parts = []
    for group, sets in profile_groups(context).items():
        profile = layer_profile(sets, confidence=context.plan.confidence)
        profile.insert(0, "group", group)
        if len(profile):
            parts.append(profile)
    if not parts:
        return pd.DataFrame(columns=["group", "layer", "share", "low", "high", "neurons", "facts"])
    return pd.concat(parts, ignore_index=True)


def profile_groups(context: AnalysisContext) -> dict[str, NeuronSets]:
    """Return the known queries of facts, and the minimal pairs whose good continuation the model prefers.

    Parameters
    ----------
    context : AnalysisContext
        The study and its plan.

    Returns
    -------
    dict of str to NeuronSets
        Group, in words → its sets.
    """
    queries = context.sets.queries
    pair = queries["kind"] == PAIR
    preferred = queries.get("preferred", queries["known"])
    leaks = context.sets.facts["leaks"][queries["fact"]]
    return {
        "facts": context.sets.select(queries["known"] & ~pair & ~leaks),
        "minimal pairs": context.sets.select(preferred & pair),
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
