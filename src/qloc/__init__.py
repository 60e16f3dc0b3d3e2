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

from qloc.version import __version__

if TYPE_CHECKING:
    from qloc import methods as methods
    from qloc.analysis import hypotheses as hypotheses
    from qloc.analysis.formula import fit as fit
    from qloc.analysis.inference.draws import Draws as Draws
    from qloc.analysis.localization.consistency import consistency as consistency
    from qloc.neurons import NeuronSets as NeuronSets
    from qloc.plan import Plan as Plan
    from qloc.simulation.simulate import simulate as simulate
    from qloc.store.integrity.verify import verify as verify
    from qloc.workflows import plot as plot
    from qloc.workflows.analyze import analyze as analyze
    from qloc.workflows.analyze import compare as compare
    from qloc.workflows.analyze import load as load
    from qloc.workflows.analyze import open_study
    from qloc.workflows.analyze import report as report
    from qloc.workflows.cite import cite as cite
    from qloc.workflows.extract import extract_study as extract_study
    from qloc.workflows.power import power as power
    from qloc.workflows.show import show as show

    open = open_study

_HOME = {
    "open": ("qloc.workflows.analyze", "open_study"),
    "extract_study": ("qloc.workflows.extract", "extract_study"),
    "analyze": ("qloc.workflows.analyze", "analyze"),
    "compare": ("qloc.workflows.analyze", "compare"),
    "load": ("qloc.workflows.analyze", "load"),
    "report": ("qloc.workflows.analyze", "report"),
    "show": ("qloc.workflows.show", "show"),
    "cite": ("qloc.workflows.cite", "cite"),
    "plot": ("qloc.workflows.plot", None),
    "verify": ("qloc.store.integrity.verify", "verify"),
    "Plan": ("qloc.plan", "Plan"),
    "NeuronSets": ("qloc.neurons", "NeuronSets"),
    "consistency": ("qloc.analysis.localization.consistency", "consistency"),
    "fit": ("qloc.analysis.formula", "fit"),
    "hypotheses": ("qloc.analysis.hypotheses", None),
    "Draws": ("qloc.analysis.inference.draws", "Draws"),
    "methods": ("qloc.methods", None),
    "power": ("qloc.workflows.power", "power"),
    "simulate": ("qloc.simulation.simulate", "simulate"),
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
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
