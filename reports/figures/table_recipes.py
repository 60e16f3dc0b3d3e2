"""Which table becomes which figure: one recipe for each table that analyses make, a guess for all others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from qloc.analysis.results import Cell, Table
from qloc.reports.document import AxisKind, FigureKind
from qloc.reports.figures import table_reshaping
from qloc.vocabulary import GAP_TOLERANCE

N_ROWS: Final = 60
"""Rows of a figure, unless its recipe says otherwise."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to draw a table, by the names of its columns.

    Attributes
    ----------
    kind : FigureKind
        How the figure is drawn.
    over : str
        The categories, or the numeric axis.
    values : tuple of str
        The columns drawn, those that are there; an interval is in ``<name>_low`` and ``<name>_high``,
        of a column drawn alone also in ``low`` and ``high``.
    split : str
        Makes a series of each of its values, of the first column in ``values``.
    panel : str
        Makes a panel of each of its values.
    facets : tuple of (tuple of (str, tuple of str, AxisKind), ...)
        Title, columns and axis of each panel, instead of ``values``.
    prepare : callable or None
        What is done to the table first.
    ticked : str
        Column of truths, whose cells get a frame in a heatmap.
    axis : AxisKind
        What the axis of the values holds.
    limits : tuple of (float, float) or None
        Ends of the axis of the values; None leaves them to the data.
    value_label : str
        Label of the axis of the values; the column's heading where it is empty and one column is drawn.
    order : {"as it is", "down"}
        ``down`` puts the highest value on top.
    n_rows : int
        Categories that are drawn at most; of more, the caption says so.
    reference : float or None
        Where a dashed line stands.
    caption : str
        What stands before the table's own note.
    title : str
        What stands behind the table's title, to tell two figures of one table apart.
    """

    kind: FigureKind
    over: str
    values: tuple[str, ...]
    split: str = ""
    panel: str = ""
    facets: tuple[tuple[str, tuple[str, ...], AxisKind], ...] = ()
    prepare: Callable[[Table], Table] | None = None
    ticked: str = ""
    axis: AxisKind = "number"
    limits: tuple[float, float] | None = None
    value_label: str = ""
    order: Literal["as it is", "down"] = "as it is"
    n_rows: int = N_ROWS
    reference: float | None = None
    caption: str = ""
    title: str = ""


_KAPPA: Final = "κ: 0 is chance, 1 the same neurons every time"

_MEASURES: Final[tuple[tuple[str, tuple[str, ...], AxisKind], ...]] = (
    ("κ", ("kappa",), "number"),
    ("K_I(k₀)", ("ki",), "share"),
    ("Beyond the template (H1a)", ("beyond_template",), "number"),
    ("Beyond the answer (H1b)", ("beyond_answer",), "number"),
)

_IN_SET: Final = "Framed: the neuron is in the query's set."

_EDIT_MATRIX: Final = Recipe(
    kind="heatmap", over="criterion", values=("value",), split="edit", prepare=table_reshaping.edit_matrix,
    limits=(0.0, 1.0), value_label="share of 1", caption="Of Δ nats less is better, of all else more.",
    title=": every edit by every criterion",
)  # fmt: skip

RECIPES: Final[Mapping[str, Recipe]] = {
    "counts_by_relation": Recipe(
        kind="bars", over="relation", values=("queries", "known"), axis="count", value_label="queries"
    ),
    "consistency_overall": Recipe(
        kind="dots", over="score", values=("mean",), split="queries", value_label="mean over facts",
        reference=0.0,
    ),
    "consistency_by_relation": Recipe(
        kind="dots", over="relation", values=("kappa", "kappa_same_answer"), order="down", value_label=_KAPPA,
        reference=0.0, prepare=table_reshaping.enough_facts,
    ),
    "consistency_by_fact": Recipe(
        kind="violins", over="relation", values=(), reference=0.0,
        facets=(("κ", ("kappa",), "number"), ("CS2, as published", ("cs2",), "number")),
    ),
    "by_attribute": Recipe(
        kind="dots", over="level", values=("kappa",), panel="attribute", value_label="κ", reference=0.0,
        prepare=table_reshaping.enough_facts,
    ),
    "by_method": Recipe(kind="dots", over="method", values=("kappa",), value_label=_KAPPA, reference=0.0),
    "ki_by_threshold": Recipe(
        kind="lines", over="threshold", values=("ki",), split="counted", panel="panel",
        prepare=table_reshaping.by_rule, axis="share", limits=(0.0, 1.0), value_label="inconsistent facts",
    ),
    "ki_by_relation": Recipe(
        kind="dots", over="relation", values=("subsets", "below_0.1"), axis="share", order="down",
        value_label="inconsistent facts", prepare=table_reshaping.enough_facts,
    ),
    "ki_across_methods": Recipe(
        kind="bars", over="called", values=("ki", "expected"), axis="share", value_label="inconsistent facts"
    ),
    "ki_method_pairs": Recipe(kind="dots", over="methods", values=("odds_ratio",), reference=1.0),
    "reliability_by_relation": Recipe(
        kind="dots", over="relation", values=("reliability",), reference=0.0,
        value_label="reliability of κ: 0 is chance, 1 a fixed property of the fact",
    ),
    "tilt_distribution": Recipe(
        kind="lines", over="theta", values=("share",), axis="share", value_label="share of facts"
    ),
    "method_agreement": Recipe(
        kind="dots", over="what", values=("overlap",), split="kind", value_label="mean overlap (Dice)"
    ),
    "behaviour_slopes": Recipe(kind="dots", over="outcome", values=("slope",), reference=0.0),
    "behaviour_by_kappa": Recipe(
        kind="lines", over="fifth", values=(),
        facets=(
            ("Same answer", ("agreement", "candidate_agreement"), "share"),
            ("log P(answer)", ("log_probability",), "number"),
        ),
    ),
    "intervention_effects": Recipe(
        kind="dots", over="neuron_set", values=("log_odds",), panel="operation", reference=0.0,
        value_label="Δ log-odds of the answer",
    ),
    "intervention_contrasts": Recipe(
        kind="dots", over="operation", values=("difference",), split="control", panel="outcome",
        reference=0.0, value_label="N_i less the control",
    ),
    "query_kn_mapping": Recipe(
        kind="dots", over="class", values=("own_minus_neighbor", "neighbor_minus_own"), panel="operation",
        reference=0.0, value_label="log-odds of the answer to i",
    ),
    "query_kn_ceiling": Recipe(
        kind="dots", over="class", values=("gap", "ceiling"), panel="operation", reference=0.0,
        value_label="log-odds of the answer to i",
    ),
    "dose_response": Recipe(
        kind="lines", over="fifth", values=("own", "matched"), value_label="Δ log-odds of the answer"
    ),
    "synapse_effects": Recipe(
        kind="dots", over="synapse_set", values=("log_odds",), panel="operation", reference=0.0,
        value_label="Δ log-odds of the answer",
    ),
    "synapse_contrasts": Recipe(
        kind="dots", over="operation", values=("difference",), split="control", reference=0.0,
        value_label="knowledge synapses less the control",
    ),
    "edit_scores": Recipe(
        kind="dots", over="set", values=("reliability", "generalization", "locality"), panel="operation",
        axis="share", limits=(0.0, 1.0),
    ),
    "edit_by_class": Recipe(
        kind="dots", over="set", values=("reliability", "generalization", "locality"), panel="operation",
        axis="share", limits=(0.0, 1.0),
    ),
    "edit_contrasts": Recipe(
        kind="dots", over="contrast", values=("difference",), panel="operation", reference=0.0,
        value_label="difference in log-odds moved",
    ),
    "edit_entailments": Recipe(
        kind="dots", over="set", values=("reliability", "symmetry", "synonymy", "neighborhood"),
        panel="operation", axis="share", limits=(0.0, 1.0),
    ),
    "edit_entailment_moves": Recipe(
        kind="dots", over="set", values=("difference",), split="entailed", panel="operation", reference=0.0,
        value_label="log-odds gained by what is entailed",
    ),
    "multiverse": Recipe(
        kind="lines", over="threshold", values=(), split="choice", facets=_MEASURES
    ),
    "by_budget": Recipe(kind="lines", over="b", values=(), facets=_MEASURES),
    "rarefaction": Recipe(
        kind="lines", over="k0", values=(), axis="share", limits=(0.0, 1.0),
        facets=(
            ("Inconsistent facts", ("ki_cs2", "ki_cs1"), "share"),
            ("Mean scores", ("mean_cs2", "mean_cs1", "dice"), "number"),
        ),
    ),
    "overlap_decomposition": Recipe(
        kind="stacked", over="relation", values=("overlap",), split="part",
        value_label="mean overlap (Dice) of a fact's queries",
    ),
    "overlap_by_relation": Recipe(
        kind="dots", over="relation", values=("beyond_template",), reference=0.0
    ),
    "overlap_components": Recipe(
        kind="dots", over="part", values=("share",), axis="share", limits=(0.0, 1.0)
    ),
    "overlap_components_bayes": Recipe(
        kind="dots", over="part", values=("share",), split="prior", axis="share", limits=(0.0, 1.0)
    ),
    "localization_level": Recipe(
        kind="dots", over="relation", values=("level", "null"), order="down", limits=(0.0, 1.0),
        value_label="R₁²: 0 is orthogonal, 1 the same direction",
    ),
    "syntax_localization": Recipe(
        kind="dots", over="of", values=(), order="down",
        facets=(
            ("κ", ("kappa",), "number"),
            ("R₁² beyond different facts or features", ("beyond",), "number"),
        ),
    ),
    "good_over_bad": Recipe(
        kind="dots", over="feature", values=("share",), panel="paradigm", axis="share", limits=(0.0, 1.0),
        reference=0.5,
    ),
    "suppression_flips": Recipe(
        kind="dots", over="set", values=("flipped",), split="decision", panel="change",
        axis="share", limits=(0.0, 1.0),
    ),
    "suppressed_words": Recipe(
        kind="dots", over="word", values=("difference",), split="feature", panel="relation", reference=0.0,
        value_label="Δ log-odds under N_i less under matched neurons",
    ),
    "edited_pairs": Recipe(
        kind="dots", over="set", values=("flipped",), split="sentences", panel="change",
        axis="share", limits=(0.0, 1.0),
    ),
    "syntax_layer_groups": Recipe(
        kind="bars", over="layers", values=("facts", "syntax"), axis="share",
        value_label="share of a query's knowledge neurons",
    ),
    "layer_profile": Recipe(
        kind="profile", over="layer", values=("share",), split="group", axis="share",
        value_label="share of a query's knowledge neurons",
    ),
    "heatmap": Recipe(
        kind="heatmap", over="column", values=("value",), split="row", ticked="member", limits=(0.0, 1.0),
        value_label="attribution, share of the query's maximum",
        caption=_IN_SET,
    ),
    "activation": Recipe(
        kind="heatmap", over="column", values=("value",), split="row", ticked="member",
        value_label="activation", caption=_IN_SET,
    ),
    "suppressed": Recipe(
        kind="heatmap", over="column", values=(), split="row", ticked="member", caption=_IN_SET,
        axis="share", limits=(0.0, 1.0),
        facets=(
            ("Activation", ("activation",), "number"),
            ("Gradient × activation, share of the query's largest before", ("attribution",), "share"),
        ),
    ),
    "attention": Recipe(
        kind="heatmap", over="token", values=("attention",), split="head", ticked="synapse",
        limits=(0.0, 1.0), value_label="attention from the target",
        caption="Framed: a knowledge synapse, which suppression takes away.",
    ),
    "edit_matrix": _EDIT_MATRIX,
    "decomposition": Recipe(
        kind="dots", over="part", values=("overlap",), reference=0.0,
        prepare=table_reshaping.over_all_relations, value_label="mean overlap (Dice)",
        title=", over all relations",
    ),
    "specification_curve": Recipe(
        kind="dots", over="specification", values=("kappa",), order="down", reference=0.0, value_label=_KAPPA,
        n_rows=500,  # a curve without its lower end would show the choices that do well
        prepare=table_reshaping.specifications, title=", in the order of κ",
    ),
    "gap_by_layer": Recipe(
        kind="lines", over="layer", values=("median", "percentile_95"), reference=GAP_TOLERANCE,
        value_label="completeness gap; dashed: the tolerance", title=", against the tolerance",
    ),
    "chen_ratio": Recipe(
        kind="bars", over="sets", values=("ki",), split="counted", panel="rule", axis="share",
        value_label="inconsistent facts", prepare=table_reshaping.ratios,
    ),
    "chen_probability": Recipe(
        kind="bars", over="change", values=(), prepare=table_reshaping.changes,
        facets=(
            ("ΔProb, as published", ("probability_own", "probability_neighbor"), "number"),
            ("Δ log-odds", ("log_odds_own", "log_odds_neighbor"), "number"),
        ),
    ),
    "chen_synapses": Recipe(
        kind="dots", over="synapses", values=("log_odds",), split="model", panel="operation", reference=0.0,
        value_label="Δ log-odds of the answer",
    ),
    "niu_tracing": Recipe(
        kind="dots", over="role", values=("indirect",), split="kind", panel="part", reference=0.0,
        value_label="greatest indirect effect, log-odds",
    ),
    "chen_modification": _EDIT_MATRIX,
    "chen_cas": _EDIT_MATRIX,
    **{
        f"tracing_{part}": Recipe(
            kind="heatmap", over="layer", values=("indirect",), split="token",
            value_label="indirect effect, log-odds",
        )
        for part in ("residual", "mlp", "attention")
    },
    "models": Recipe(
        kind="dots", over="model", values=(),
        facets=(
            ("κ", ("kappa",), "number"),
            ("Inconsistent facts, K_I(k₀)", ("ki",), "share"),
            ("D", ("dice",), "number"),
            ("Known queries", ("known",), "share"),
        ),
    ),
    "model_differences": Recipe(
        kind="dots", over="measure", values=("difference",), panel="models", reference=0.0,
    ),
    "models_by_relation": Recipe(
        kind="dots", over="relation", values=("ki",), split="model", axis="share",
        value_label="inconsistent facts, K_I(k₀)", title=": inconsistent facts",
    ),
    "models_ki": Recipe(
        kind="lines", over="threshold", values=("ki",), split="model", panel="method", axis="share",
        value_label="inconsistent facts, K_I(k₀)",
    ),
    "completeness_by_layer": Recipe(
        kind="profile", over="layer", values=("over",), split="method", axis="share",
        value_label="queries over the tolerance",
    ),
}  # fmt: skip
"""Name of a table → how it is drawn; ``<name>_<more>``, unless it is here too, is drawn like ``<name>``."""

FURTHER: Final[Mapping[str, tuple[str, ...]]] = {
    "overlap_decomposition": ("decomposition",),
    "edit_scores": ("edit_matrix",),
    "multiverse": ("specification_curve",),
    "completeness_by_layer": ("gap_by_layer",),
}
"""Table → recipes of what else is drawn of it."""

_NUMERIC_AXES: Final = ("threshold", "k0", "k", "layer", "budget", "b", "steps", "n_steps")


def recipe_of(table: Table) -> Recipe | None:
    """Find how a table is drawn, by its name; else guess.

    Parameters
    ----------
    table : Table
        Of the analysis.

    Returns
    -------
    Recipe or None
        The recipe of its name; a guess where it has categories or an axis, and intervals; else None.
    """
    begun = [name for name in RECIPES if f"{table.name}_".startswith(f"{name}_")]
    if begun:
        return RECIPES[max(begun, key=len)]
    values = tuple(name for name in table.columns if f"{name}_low" in table.columns)
    if not values and "low" in table.columns:
        values = tuple(name for name in ("estimate", "mean", "value") if name in table.columns)[:1]
    if not values:
        return None
    category = next((name for name, cells in table.columns.items() if _is_text(cells)), None)
    if category and len(set(table.columns[category])) < len(table.columns[category]):
        return None  # what tells its rows apart is in several columns
    if category:
        return Recipe(kind="dots", over=category, values=values)
    axis = next((name for name in _NUMERIC_AXES if name in table.columns), None)
    return Recipe(kind="lines", over=axis, values=values) if axis else None


def _is_text(cells: tuple[Cell, ...]) -> bool:
    return bool(cells) and all(isinstance(cell, str) for cell in cells)
