"""The plan: what one study does, in YAML or flags; unknown keys are refused.

What bears on the numbers goes into a phase's fingerprint; where and how fast it runs (device, workers, paths)
does not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from qloc.errors import InputError, message
from qloc.phase_plan import EditPlan, InterventionPlan

Method = Literal["ig", "grad_x_act"]
Quadrature = Literal["midpoint", "right", "left", "endpoints", "gauss"]
Tier = Literal["panel", "dense"]
Dtype = Literal["auto", "float32", "float64", "bfloat16", "float16"]
Phase = Literal["signals", "interventions", "edits"]
Hypothesis = Literal["H1a", "H1b"]

_UNITS: Final = {
    "": 1,
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
}


def bytes_of(size: str | int) -> int:
    """Bytes of a size such as ``8GB`` or ``512MiB``.

    Examples
    --------
    >>> bytes_of("8GB"), bytes_of("1.5 MiB"), bytes_of(100)
    (8000000000, 1572864, 100)
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", str(size))
    if not found or found[2].upper() not in _UNITS:
        raise ValueError(
            f"{size!r} is no size; expected a number with B, KB, MB, GB, KiB, MiB or GiB, such as 8GB"
        )
    return int(float(found[1]) * _UNITS[found[2].upper()])


def _listed(value: Any) -> Any:
    """``a,b`` as a list, so that flags and YAML read alike."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AnalysisPlan(_Strict):
    """What is asked of a store, fixed before looking: methods.md §4–5, statistics.md §12."""

    method: str = "ig"
    threshold: float = Field(0.2, gt=0, lt=1)
    thresholds: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)
    consistency_threshold: float = Field(0.1, gt=0, lt=1)
    k0: int = Field(3, ge=2)
    n_permutations: int = Field(999, ge=99)
    n_bootstrap: int = Field(999, ge=99)
    confidence: float = Field(0.95, gt=0.5, lt=1)
    alpha: float = Field(0.05, gt=0, lt=0.5)
    confirmatory: tuple[Hypothesis, ...] = ("H1a", "H1b")
    seed: int = Field(0, ge=0)


class Plan(_Strict):
    """One study, model to analysis; every field may stand in YAML, most as a flag of ``qloc extract``."""

    model: str = "embedded:causal"
    facts: str = "embedded"
    revision: str | None = None
    blocks: str | None = None
    down: str | None = Field(None, validate_default=True)
    methods: Annotated[tuple[Method, ...], BeforeValidator(_listed)] = Field(("ig",), min_length=1)
    steps: int = Field(20, ge=1, le=1000)
    quadrature: Quadrature = "midpoint"
    answer_tokens: Literal["all", "first"] = "all"
    tier: Tier = "panel"
    floor: float = Field(0.05, ge=0, lt=1)
    capacity: int = Field(1024, ge=1)
    unit_facts: int = Field(32, ge=1)
    memory: Annotated[int, BeforeValidator(bytes_of)] = Field(8 * 10**9, ge=10**6)
    relations: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    max_facts: int | None = Field(None, ge=1)
    seed: int = Field(0, ge=0)
    device: str = "auto"
    dtype: Dtype = "auto"
    store_dtype: Literal["float32", "float64"] = "float32"
    phases: Annotated[tuple[Phase, ...], BeforeValidator(_listed)] = ("signals",)
    sets: str | None = None
    interventions: InterventionPlan = InterventionPlan()
    edits: EditPlan = EditPlan()
    analysis: AnalysisPlan = AnalysisPlan()

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

    @field_validator("phases")
    @classmethod
    def _in_order(cls, names: tuple[Phase, ...]) -> tuple[Phase, ...]:
        if "signals" not in names:
            raise ValueError("signals among them: the other phases are chosen from it")
        return tuple(name for name in get_args(Phase) if name in names)

    @field_validator("interventions", "edits")
    @classmethod
    def _by_a_method_of_the_plan(
        cls, part: InterventionPlan | EditPlan, info: ValidationInfo
    ) -> InterventionPlan | EditPlan:
        if part.method is not None and part.method not in info.data.get("methods", (part.method,)):
            raise ValueError(f"a method that is extracted, one of {', '.join(info.data['methods'])}")
        return part

    def signal_parameters(self) -> dict[str, Any]:
        """What bears on the numbers of phase ``signals``: part of its fingerprint."""
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
            "relations",
            "max_facts",
            "seed",
            "dtype",
            "store_dtype",
        )
        values = self.model_dump(mode="json")
        named = tuple(name for name in ("blocks", "down") if values[name] is not None)
        return {name: values[name] for name in names + named}

    def intervention_plan(self) -> InterventionPlan:
        """What phase ``interventions`` does, its method named."""
        return self.interventions.model_copy(update={"method": self.interventions.method or self.methods[0]})

    def edit_plan(self) -> EditPlan:
        """What phase ``edits`` does, its method named."""
        return self.edits.model_copy(update={"method": self.edits.method or self.methods[0]})


_PARTS: Final[Mapping[str, type[BaseModel]]] = {
    "interventions": InterventionPlan,
    "edits": EditPlan,
    "analysis": AnalysisPlan,
}


def plan_from(path: Path | None = None, flags: Mapping[str, Any] | None = None) -> Plan:
    """The plan of a YAML file, overridden by flags (those that are not None).

    Raises
    ------
    InputError : every unknown key and every wrong value, one line each.
    """
    written = _read(path) if path else {}
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    try:
        return Plan.model_validate({**written, **given})
    except ValidationError as error:
        raise InputError(_problems(error, path, given)) from None


def _read(path: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            message("plan", str(path), "a readable file", str(error), "Give another path")
        ) from None
    except yaml.YAMLError as error:
        raise InputError(
            message("plan", str(path), "YAML", " ".join(str(error).split()), "Mend the file")
        ) from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise InputError(message("plan", type(found).__name__, "keys and values", str(path), "Mend the file"))
    return found


def _problems(error: ValidationError, path: Path | None, flags: Mapping[str, Any]) -> list[str]:
    lines = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"])
        top = str(problem["loc"][0]) if problem["loc"] else ""
        place = f"flag --{top.replace('_', '-')}" if top in flags or not path else f"plan {path}"
        if problem["type"] == "extra_forbidden":
            known = _PARTS[top].model_fields if len(problem["loc"]) > 1 else Plan.model_fields
            lines.append(message("key", key, f"one of {', '.join(known)}", place, "Remove or correct it"))
        else:
            rule = problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
            lines.append(message(key, problem["input"], rule, place, "Correct it"))
    return lines
