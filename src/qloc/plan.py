"""The plan: what one study does, in YAML or flags; unknown keys are refused.

What bears on the numbers goes into a phase's fingerprint; where and how fast it runs (device, workers, paths)
does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from qloc.analysis_plan import AnalysisPlan as AnalysisPlan
from qloc.errors import InputError, message
from qloc.methods import rule_broken_by, sources
from qloc.phase_plan import ROME_TRACED, EditPlan, InterventionPlan, ProbePlan, TracingPlan
from qloc.text.byte_sizes import bytes_of
from qloc.text.checked_models import problems_of
from qloc.text.ordinary_files import MOST_SETTINGS, read_ordinary
from qloc.text.parsing import yaml_of

Quadrature = Literal["certified", "midpoint", "right", "left", "endpoints", "gauss", "adaptive"]
Site = Literal["mlp_post", "mlp_pre"]
PairTarget = Literal["good", "bad", "contrast"]
PairGroups = Literal["feature", "cue", "item", "single"]
AnswerTokens = Literal["all", "first"]
Tier = Literal["panel", "dense"]
Dtype = Literal["auto", "float32", "float64", "bfloat16", "float16"]
Phase = Literal["signals", "interventions", "edits", "tracing"]
Share = Annotated[float, Field(gt=0, lt=1)]

DEFAULT_PHASES: Final[tuple[Phase, ...]] = ("signals", "interventions", "edits")
"""Phases that run where none are named: tracing is asked for."""

IN_ORDER: Final[tuple[Phase, ...]] = ("signals", "interventions", "tracing", "edits")
"""The order in which phases run: edits may be of the layer that tracing names."""

FIRST_STEPS: Final = {"certified": 4, "adaptive": 8}
"""Nodes that these rules start with where none are given: benchmarks/quadrature.py."""


def _listed(value: Any) -> Any:
    """``a,b`` as a list, so that flags and YAML read alike."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _or_none(value: Any) -> Any:
    """``none`` as an empty list, others as :func:`_listed` reads them."""
    return () if value == "none" else _listed(value)


def _sorted(values: tuple[float, ...]) -> tuple[float, ...]:
    """Each once, in order: neither changes what is computed."""
    return tuple(sorted(set(values)))


def _joined(value: Any) -> Any:
    """A list as ``a,b``, each once: one text names one revision or several."""
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        return value
    names = _listed(",".join(given))
    if len(set(names)) < len(names):
        raise ValueError(f"{', '.join(names)} names one twice; expected each once")
    return ",".join(names) or None


def _words(value: Any) -> Any:
    """``candidates``, or words by commas or in a list, as the part of a plan that they stand for."""
    words = _listed(value)
    if words == ["candidates"]:
        return {}
    return {"words": words} if isinstance(words, list) else words


class Plan(BaseModel):
    """One study, model to analysis; every field may stand in YAML, most as a flag of ``qloc extract``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = "embedded:causal"
    facts: str = "embedded"
    revision: Annotated[str | None, BeforeValidator(_joined)] = None
    blocks: str | None = None
    down: str | None = Field(None, validate_default=True)
    methods: Annotated[tuple[str, ...], BeforeValidator(_listed)] = Field(("ig",), min_length=1)
    steps: int = Field(4, ge=1, le=1000)
    quadrature: Quadrature = "certified"
    quadrature_error: float = Field(0.001, gt=0, lt=1)
    quadrature_thresholds: Annotated[
        tuple[Share, ...], BeforeValidator(_or_none), AfterValidator(_sorted)
    ] = (0.1, 0.2, 0.3)
    gap_tolerance: float = Field(0.002, gt=0, lt=1)
    site: Site = "mlp_post"
    target: PairTarget = "good"
    answer_tokens: AnswerTokens = "all"
    tier: Tier = "panel"
    floor: float = Field(0.05, ge=0, lt=1)
    capacity: int = Field(4096, ge=1)
    unit_facts: int = Field(32, ge=1)
    memory: Annotated[int, BeforeValidator(bytes_of)] = Field(8 * 10**9, ge=10**6)
    relations: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    max_facts: int | None = Field(None, ge=1)
    pairs: PairGroups | None = None
    pair_queries: int = Field(20, ge=2)
    seed: int = Field(0, ge=0)
    threads: int = Field(2, ge=1)
    device: str = "auto"
    workers: int | None = Field(None, ge=1)
    cluster: str | None = Field(None, validate_default=True)
    dtype: Dtype = "auto"
    store_dtype: Literal["float32", "float64"] = "float32"
    phases: Annotated[tuple[Phase, ...], BeforeValidator(_listed)] = DEFAULT_PHASES
    sets: str | None = None
    probes: Annotated[ProbePlan | None, BeforeValidator(_words)] = None
    interventions: InterventionPlan = Field(InterventionPlan(), validate_default=True)
    edits: EditPlan = Field(EditPlan(), validate_default=True)
    tracing: TracingPlan = TracingPlan()
    analysis: AnalysisPlan = AnalysisPlan()

    def __init__(self, **fields: Any) -> None:
        """Make a plan in Python; refuse every unknown field and every wrong value at once.

        Parameters
        ----------
        **fields : Any
            As in YAML; those that are left out have their defaults.

        Raises
        ------
        InputError
            One line for each problem.
        """
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise InputError(problems_of(error, Plan, "qloc.Plan")) from None

    @model_validator(mode="before")
    @classmethod
    def _first_steps(cls, given: Any) -> Any:
        rule = given.get("quadrature") if isinstance(given, dict) else None
        if not isinstance(rule, str) or given.get("steps") is not None:
            return given
        return {**given, "steps": FIRST_STEPS.get(rule, 20)}

    @model_validator(mode="before")
    @classmethod
    def _phases_of_the_site(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("site") == "mlp_pre" and given.get("phases") is None:
            return {**given, "phases": ("signals",)}
        return given

    @field_validator("methods")
    @classmethod
    def _methods_exist(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if rule := rule_broken_by(name):
                raise ValueError(f"{rule}; {name!r} is none")
        return names

    @field_validator("phases")
    @classmethod
    def _of_neurons(cls, phases: tuple[Phase, ...], info: ValidationInfo) -> tuple[Phase, ...]:
        if info.data.get("site") == "mlp_pre" and phases != ("signals",):
            raise ValueError("signals alone where site is mlp_pre: other phases change what mlp_post reads")
        return phases

    @field_validator("methods", "phases")
    @classmethod
    def _once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) < len(names):
            raise ValueError(f"{', '.join(names)} names one twice; expected each once")
        return names

    @field_validator("down")
    @classmethod
    def _both_or_neither(cls, down: str | None, info: ValidationInfo) -> str | None:
        if (down is None) != (info.data.get("blocks") is None):
            raise ValueError("both module paths, blocks and down, or neither")
        return down

    @field_validator("workers")
    @classmethod
    def _all_gpus_are_one_process(cls, workers: int | None, info: ValidationInfo) -> int | None:
        if workers is not None and workers > 1 and info.data.get("device") == "map":
            raise ValueError("1 where device is map: each process would spread the model over all GPUs")
        return workers

    @field_validator("cluster")
    @classmethod
    def _one_or_the_other(cls, cluster: str | None, info: ValidationInfo) -> str | None:
        if cluster is not None and info.data.get("workers") is not None:
            raise ValueError("workers of this machine or a cluster, not both")
        return cluster

    @field_validator("phases")
    @classmethod
    def _in_order(cls, names: tuple[Phase, ...]) -> tuple[Phase, ...]:
        if "signals" not in names:
            raise ValueError("signals among them: the other phases are chosen from it")
        return tuple(name for name in IN_ORDER if name in names)

    @field_validator("interventions", "edits")
    @classmethod
    def _by_a_method_of_the_plan(
        cls, part: InterventionPlan | EditPlan, info: ValidationInfo
    ) -> InterventionPlan | EditPlan:
        if part.method is not None and part.method not in info.data.get("methods", (part.method,)):
            raise ValueError(f"a method that is extracted, one of {', '.join(info.data['methods'])}")
        floor, phases = info.data.get("floor", 0.0), info.data.get("phases", ())
        if part.threshold < floor and info.field_name in phases:
            raise ValueError(f"a threshold of at least the floor, {floor:g}, or signals as the only phase")
        if ROME_TRACED in part.sets and "edits" in phases and "tracing" not in phases:
            raise ValueError(f"tracing among the phases: {ROME_TRACED} edits the layer that it names")
        return part

    def yaml(self) -> str:
        """Return the whole plan, every default in it, as ``--plan`` reads it.

        Returns
        -------
        str
            YAML, in the order of the fields.

        Examples
        --------
        >>> Plan().yaml().splitlines()[:2]
        ['model: embedded:causal', 'facts: embedded']
        """
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)

    def signal_parameters(self) -> dict[str, Any]:
        """Return what the numbers of phase ``signals`` depend on.

        Returns
        -------
        dict of str to Any
            Part of its fingerprint; JSON only.
        """
        names = (
            "methods",
            "steps",
            "quadrature",
            "answer_tokens",
            "tier",
            "floor",
            "capacity",
            "unit_facts",
            "memory",
            "threads",
            "relations",
            "max_facts",
            "seed",
            "dtype",
            "store_dtype",
        )
        values = self.model_dump(mode="json")
        named = tuple(name for name in ("blocks", "down") if values[name] is not None)
        if self.quadrature == "adaptive":
            named += ("gap_tolerance",)
        if self.quadrature == "certified":
            named += ("quadrature_error", "quadrature_thresholds")
        if self.target != "good":
            named += ("target",)
        own = sources(self.methods)
        return {name: values[name] for name in names + named} | ({"method_sources": own} if own else {})

    def pair_groups(self) -> PairGroups:
        """Return what minimal pairs are grouped by.

        Returns
        -------
        {"feature", "cue", "item", "single"}
            As the plan says; else by feature where the facts are BLiMP's, and single pairs of other files.
        """
        return self.pairs or ("feature" if self.facts.startswith("blimp:") else "single")

    def intervention_plan(self) -> InterventionPlan:
        """Return what phase ``interventions`` does, its method named.

        Returns
        -------
        InterventionPlan
            A copy with a method.
        """
        return self.interventions.model_copy(update={"method": self.interventions.method or self.methods[0]})

    def edit_plan(self) -> EditPlan:
        """Return what phase ``edits`` does, its method named.

        Returns
        -------
        EditPlan
            A copy with a method.
        """
        return self.edits.model_copy(update={"method": self.edits.method or self.methods[0]})


def each_revision(plan: Plan, out: Path) -> list[tuple[Plan, Path]]:
    """Divide a plan of several revisions into one plan and one store each.

    Parameters
    ----------
    plan : Plan
        Its ``revision`` may list several, parted by commas.
    out : Path
        The store of one revision; of several, the folder of their stores.

    Returns
    -------
    list of tuple of (Plan, Path)
        Plan and store of each revision.

    Raises
    ------
    InputError
        Two revisions would have one store.

    Examples
    --------
    >>> plan = Plan(revision="step1,refs/pr/2")
    >>> [(one.revision, str(store)) for one, store in each_revision(plan, Path("p"))]
    [('step1', 'p/step1.zarr'), ('refs/pr/2', 'p/refs-pr-2.zarr')]
    """
    names = (plan.revision or "").split(",")
    if len(names) == 1:
        return [(plan, out)]
    stores = [out / f"{name.replace('/', '-')}.zarr" for name in names]
    if len(set(stores)) < len(stores):
        rule = "names that differ by more than / and -, since each is a store's"
        raise InputError(message("revision", plan.revision, rule, "--revision", "Extract them one by one"))
    return [
        (plan.model_copy(update={"revision": name}), store) for name, store in zip(names, stores, strict=True)
    ]


def plan_from(path: Path | None = None, flags: Mapping[str, Any] | None = None) -> Plan:
    """Read the plan of a YAML file, overridden by flags.

    Parameters
    ----------
    path : Path or None, default None
        The file; None for the defaults.
    flags : dict of str to Any or None, default None
        Name → value; those that are None override nothing.

    Returns
    -------
    Plan
        The whole plan.

    Raises
    ------
    InputError
        Every unknown key and every wrong value, one line each.
    """
    written = _read(path) if path else {}
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    plan = Plan.__new__(Plan)
    try:  # not by way of __init__, whose errors name no file
        Plan.__pydantic_validator__.validate_python({**written, **given}, self_instance=plan)
    except ValidationError as error:
        place = f"plan {path}" if path else None
        raise InputError(problems_of(error, Plan, place, given)) from None
    return plan


def require_plan(given: Any, at: str) -> Plan:
    """Return a plan; refuse what is none.

    Parameters
    ----------
    given : object
        First argument of a public function.
    at : str
        The function.

    Returns
    -------
    Plan
        The plan, as it is.

    Raises
    ------
    InputError
        It is something else.
    """
    if not isinstance(given, Plan):
        shown = given if isinstance(given, str) else type(given).__name__
        action = "Write qloc.Plan(model=…, facts=…), or read one with qloc.plan.plan_from"
        raise InputError(message("plan", shown, "a qloc.Plan", at, action))
    return given


def analysis_part(given: Any, at: str) -> AnalysisPlan:
    """Return what a plan says of the analysis: the defaults of no plan; refuse what is none.

    Parameters
    ----------
    given : object
        A whole plan, its part ``analysis``, or None.
    at : str
        The function that it was given to.

    Returns
    -------
    AnalysisPlan
        What is asked of a store.

    Raises
    ------
    InputError
        It is something else.
    """
    if given is None or isinstance(given, AnalysisPlan):
        return given or AnalysisPlan()
    return require_plan(given, at).analysis


def _read(path: Path) -> dict[str, Any]:
    try:
        text = read_ordinary(path, most=MOST_SETTINGS).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            message("plan", str(path), "a readable file", str(error), "Give another path")
        ) from None
    try:
        found = yaml_of(text)
    except ValueError as error:
        raise InputError(message("plan", str(path), "YAML", str(error), "Mend the file")) from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise InputError(message("plan", type(found).__name__, "keys and values", str(path), "Mend the file"))
    return found
