"""qloc: where does a language model keep a fact? Extract once, test every hypothesis offline.

Examples
--------
>>> import qloc
>>> study = qloc.open("study.zarr")                            # doctest: +SKIP
>>> sets = study.neurons(method="ig", threshold=0.2)           # doctest: +SKIP
>>> qloc.consistency(sets)                                     # doctest: +SKIP

Everything is imported when first used: ``import qloc`` loads neither torch nor zarr nor xarray.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qloc.analysis import hypotheses as hypotheses
    from qloc.analysis.consistency import consistency as consistency
    from qloc.analysis.formula import fit as fit
    from qloc.extracting import extract_study as extract_study
    from qloc.neurons import NeuronSets as NeuronSets
    from qloc.pipeline import analyze as analyze
    from qloc.pipeline import open_study as open  # noqa: F401
    from qloc.pipeline import report as report
    from qloc.plan import Plan as Plan
    from qloc.simulate import simulate as simulate

__version__ = "0.1.0"

_HOME = {
    "open": ("qloc.pipeline", "open_study"),
    "extract_study": ("qloc.extracting", "extract_study"),
    "analyze": ("qloc.pipeline", "analyze"),
    "report": ("qloc.pipeline", "report"),
    "Plan": ("qloc.plan", "Plan"),
    "NeuronSets": ("qloc.neurons", "NeuronSets"),
    "consistency": ("qloc.analysis.consistency", "consistency"),
    "fit": ("qloc.analysis.formula", "fit"),
    "hypotheses": ("qloc.analysis.hypotheses", None),
    "simulate": ("qloc.simulate", "simulate"),
}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    """Import a public name on its first use (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module 'qloc' has no attribute {name!r}")
    module, attribute = _HOME[name]
    home = importlib.import_module(module)
    value = home if attribute is None else getattr(home, attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
