"""Settings that refuse what they cannot take in words of their own, not in pydantic's."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Self, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from qloc.errors import InputError, message
from qloc.text.rounding import counted


class CheckedModel(BaseModel):
    """Frozen settings without unknown fields; made in Python, they raise an InputError for every problem.

    Examples
    --------
    >>> class Rule(CheckedModel):
    ...     steps: int = 4
    >>> Rule(steps=None)
    Traceback (most recent call last):
    qloc.errors.InputError: steps is None; expected a valid integer. At Rule. Correct it.
    """

    # Older versions of pydantic warn of fields that begin with model_, unless no namespace is protected.
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    if not TYPE_CHECKING:  # which knows the fields, and checks them by itself
        # Not in __init__, which pydantic would call for parts of other settings too.
        def __new__(cls, **fields: Any) -> Self:
            """Raise an InputError, one line for each problem, before pydantic raises its own."""
            if fields:
                try:
                    cls.__pydantic_validator__.validate_python(fields, self_instance=super().__new__(cls))
                except ValidationError as error:
                    raise InputError(problems_of(error, cls, cls.__name__)) from None
            return super().__new__(cls)


def problems_of(
    error: ValidationError, settings: type[BaseModel], at: str | None, flags: Collection[str] = ()
) -> list[str]:
    """Return what pydantic found wrong, one line for each problem.

    Parameters
    ----------
    error : pydantic.ValidationError
        Every problem.
    settings : type
        What was to be made.
    at : str or None
        Where the values stand; None where all are flags.
    flags : collection of str
        Names of fields that were given by flags.

    Returns
    -------
    list of str
        In the form of every error.
    """
    lines = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"])
        top = str(problem["loc"][0]) if problem["loc"] else ""
        place = f"flag --{top.replace('_', '-')}" if top in flags or at is None else at
        if problem["type"] == "too_short":
            if not problem["input"]:  # else pydantic tells so of items that are wrong, each told by itself
                rule = counted(problem["ctx"]["min_length"], "item")
                lines.append(message(key, problem["input"], f"at least {rule}", place, "Correct it"))
        elif problem["type"] == "extra_forbidden":
            known = ", ".join(_part_of(settings, problem["loc"][:-1]).model_fields)
            lines.append(message("key", key, f"one of {known}", place, "Remove or correct it"))
        else:
            rule = problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
            lines.append(message(key, problem["input"], rule, place, "Correct it"))
    return lines


def _part_of(settings: type[BaseModel], place: tuple[int | str, ...]) -> type[BaseModel]:
    """Return the part of settings that these keys lead to."""
    part = settings
    for key in place:
        found = part.model_fields[str(key)].annotation
        for option in (found, *get_args(found)):  # a part that may be None has two
            part = option if isinstance(option, type) and issubclass(option, BaseModel) else part
    return part
