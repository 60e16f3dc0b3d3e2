"""The analysis plan: what is asked of a store, and which answers are confirmatory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from qloc.hypothesis_registry import CONFIRMABLE
from qloc.text.checked_models import CheckedModel

if TYPE_CHECKING:
    ConfirmableName = str
else:
    # Type checkers take no computed Literal; pydantic does, and names all of them where one is wrong.
    ConfirmableName = Literal[CONFIRMABLE]


class AnalysisPlan(CheckedModel):
    """What is asked of a store, fixed before looking.

    See docs/methods.md#neuron-sets and docs/statistics.md#families-and-verdicts.
    """

    method: str = "ig"
    threshold: float = Field(0.2, gt=0, lt=1)
    thresholds: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)
    queries: Literal["known", "all"] = "known"
    """Queries that count: those that the model knows, or all, as in a negative control."""

    consistency_threshold: float = Field(0.1, gt=0, lt=1)
    k0: int = Field(3, ge=2)
    n_permutations: int = Field(999, ge=99)
    n_bootstrap: int = Field(999, ge=99)
    confidence: float = Field(0.95, gt=0.5, lt=1)
    alpha: float = Field(0.05, gt=0, lt=0.5)
    confirmatory: tuple[ConfirmableName, ...] = ()
    """Tests that were named before looking; all others, and all without a plan, are exploratory."""

    exploratory_correction: Literal["fdr_bh", "fdr_by"] = "fdr_bh"
    """Benjamini–Hochberg, or Benjamini–Yekutieli, which holds under any dependence."""

    budgets: tuple[Annotated[int, Field(ge=1)], ...] = (5, 10, 20, 40, 80)
    overlap_margin: float = Field(0.01, gt=0)
    """Smallest excess of interest, in Dice (H1a, H1b)."""

    reliability_margin: float = Field(0.1, gt=0)
    """Smallest reliability of interest (H3)."""

    agreement_margin: float = Field(0.05, gt=0)
    """Smallest difference of interest, in Dice (H9)."""

    behaviour_margin: float = Field(0.1, gt=0)
    """Smallest standardized slope of interest (H10a–c)."""

    slope_margin: float = Field(0.1, gt=0)
    """Smallest standardized slope of interest (H10d)."""

    effect_margin: float = Field(0.1, gt=0)
    """Smallest difference of interest, in log-odds (H5, H5a, H5b, H6b, H7, H8, H12a, H12c, H13)."""

    activation_margin: float = Field(0.01, gt=0)
    """Smallest difference of interest, in relative activation (H6a)."""

    model_margin: float = Field(0.01, gt=0)
    """Smallest difference of interest between models, in κ, D, K_I and the share known."""

    bayes: bool = False
    """Whether variance components are estimated by Bayes, too, under three priors; needs qloc[bayes]."""

    n_splits: int = Field(20, ge=1)
    seed: int = Field(0, ge=0)
