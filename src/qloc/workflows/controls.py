"""Negative controls of a study: a model that has learned nothing, and facts that are not true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from qloc.errors import InputError, message
from qloc.plan import AnalysisPlan, Plan, plan_from
from qloc.progress import Progress
from qloc.vocabulary import PERMUTED
from qloc.workflows.analyze import COMPARISON, analyze, compare, report, store_name
from qloc.workflows.extract import extract_study
from qloc.workflows.repair import signals_told

if TYPE_CHECKING:
    import pandas as pd

    from qloc.analysis.results import StudyResult

CONTROLS: Final = {"model": "permuted-weights", "facts": "permuted-facts"}
"""What is permuted → name of the control's store and of its results."""


@dataclass(frozen=True, kw_only=True)
class Controlled:
    """A study beside its negative controls.

    Attributes
    ----------
    results : dict of str to StudyResult
        By name: the study's, then the controls'; all over every query, known or not.
    report : Path
        The report on all of them.
    """

    results: Mapping[str, StudyResult]
    report: Path

    def to_frame(self) -> pd.DataFrame:
        """Return every test of the study beside the same test of each control.

        Returns
        -------
        pandas.DataFrame
            A row a test: ``test``, ``question``, and for each result ``NAME, estimate``, ``NAME, low``,
            ``NAME, high`` and ``NAME, verdict``; where a control has no such test, NaN and "".
        """
        import numpy as np
        import pandas as pd

        own, *_ = self.results.values()
        rows = []
        for test in own.tests():
            row: dict[str, Any] = {"test": test.name, "question": test.question}
            for name, result in self.results.items():
                found = next((other for other in result.tests() if other.name == test.name), None)
                ends = found.interval if found else None
                row |= {
                    f"{name}, estimate": np.nan if found is None else found.estimate,
                    f"{name}, low": np.nan if ends is None else ends.low,
                    f"{name}, high": np.nan if ends is None else ends.high,
                    f"{name}, verdict": found.verdict if found else "",
                }
            rows.append(row)
        return pd.DataFrame(rows)

    def without_knowledge(self) -> dict[str, list[str]]:
        """Return the tests that hold in a control: what they find is not there for what the model knows.

        Returns
        -------
        dict of str to list of str
            Name of the control → names of tests that hold in it and in the study.
        """
        own, *_ = (
            {test.name for test in result.tests() if test.verdict == "holds"}
            for result in self.results.values()
        )
        _, *controls = self.results.items()
        return {
            name: [test.name for test in result.tests() if test.verdict == "holds" and test.name in own]
            for name, result in controls
        }


def controls(
    store: str | Path,
    out: str | Path = "controls",
    *,
    model: str | None = None,
    facts: str | None = None,
    device: str | None = None,
    plan: AnalysisPlan | None = None,
    progress: Progress | None = None,
) -> Controlled:
    """Repeat a study where there is no knowledge, and analyze it beside the study itself.

    Two controls are extracted as the store's signals were: the same facts from the model with the entries of
    each weight tensor permuted, and from the model itself facts whose objects are permuted within their
    relation. The model knows neither, so all three are analyzed over every query, known or not, and nothing
    is confirmatory. What holds in a control too is no evidence for knowledge: tokens, templates, or the
    network's form make it.

    Parameters
    ----------
    store : str or Path
        The study, extracted.
    out : str or Path, default "controls"
        Folder for ``permuted-weights.zarr``, ``permuted-facts.zarr``, ``results`` and ``report.html``. Run
        again, it only does what is missing.
    model, facts : str or None, default None
        Where they are now; by default as when the store was made.
    device : str or None, default None
        As for an extraction.
    plan : AnalysisPlan or None, default None
        What is asked; the defaults where it is None.
    progress : Progress or None, default None
        Told of each step.

    Returns
    -------
    Controlled
        Results by name, and the report.

    Raises
    ------
    SchemaError
        The path is no store.
    InputError
        The store was made without a model or is a control itself, or model or facts cannot be read.
    FingerprintError
        There is a store of another extraction in ``out``.
    MissingDependencyError, ModelError, StorageError
        As for an extraction.

    References
    ----------
    Adebayo et al. 2018, *Sanity checks for saliency maps*, NeurIPS. docs/statistics.md#controls
    """
    out, progress = Path(out), progress or Progress(quiet=True)
    own = _plan_of(store, {"model": model, "facts": facts, "device": device})
    asked = (plan or AnalysisPlan()).model_copy(update={"queries": "all", "confirmatory": ()})
    taken = (*CONTROLS.values(), COMPARISON)
    name = store_name(store)
    stores: dict[str, str | Path] = {"study" if name in taken else name: store}
    for permuted, control in CONTROLS.items():
        stores[control] = out / f"{control}.zarr"
        changed = own.model_copy(update={permuted: PERMUTED + getattr(own, permuted)})
        progress.say(f"Extracting {stores[control]}: {permuted} {changed.model_dump()[permuted]} …")
        extract_study(changed, stores[control], progress=progress)
    results = {}
    for name, path in stores.items():
        progress.say(f"Analyzing {path} …")
        results[name] = analyze(path, asked, out / "results" / name, progress=progress)
    same_facts = [path for name, path in stores.items() if name != CONTROLS["facts"]]
    compare(same_facts, asked, out / "results" / COMPARISON)
    folders = [out / "results" / name for name in (*stores, COMPARISON)]
    return Controlled(results=results, report=report(folders, "html", out / "report.html"))


def _plan_of(store: str | Path, flags: Mapping[str, Any]) -> Plan:
    """The plan of a store's signals."""
    from qloc.store.files.url import local

    path = local(store, "qloc controls")
    known, _ = signals_told(path)
    given = {name: value for name, value in flags.items() if value is not None}
    plan = plan_from(flags={**known, **given, "phases": ("signals",)})
    for name in CONTROLS:
        if str(value := getattr(plan, name)).startswith(PERMUTED):
            rule, action = "a study's own: this store is a control", "Give the store of the study"
            raise InputError(message(name, value, rule, str(path), action))
    return plan


def controls_text(found: Controlled) -> str:
    """Write a study beside its controls as text for a terminal.

    Parameters
    ----------
    found : Controlled
        As :func:`controls` returns it.

    Returns
    -------
    str
        A table, and a sentence on each control.
    """
    from qloc.text.rounding import number
    from qloc.text.tables import paragraph, table

    names = [*found.results]
    rows = []
    for row in found.to_frame().to_dict("records"):
        verdicts = [row[f"{name}, verdict"] for name in names]
        if verdicts[0] != "descriptive":
            estimates = [number(row[f"{name}, estimate"]) for name in names]
            cells = zip(estimates, verdicts, strict=True)
            rows.append([row["test"], *(f"{estimate} {verdict}".strip() for estimate, verdict in cells)])
    lines = [table(["test", *names], rows)]
    for control, tests in found.without_knowledge().items():
        of = control.replace("-", " ")
        if not tests:
            lines.append(paragraph(f"With {of} nothing holds that holds in the study."))
            continue
        held = "holds" if len(tests) == 1 else "hold"
        lines.append(
            paragraph(
                f"With {of} {_listed(tests)} {held} too: that the study says so is no evidence for knowledge."
            )
        )
    return "\n".join(lines)


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
