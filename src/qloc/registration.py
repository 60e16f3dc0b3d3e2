"""A registration: a plan fixed at a date, with what was known then, and a digest that shows changes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from qloc.canonical_json import digest
from qloc.errors import InputError, message
from qloc.plan import Plan
from qloc.text.files import write_text
from qloc.text.ordinary_files import MOST_SETTINGS, read_ordinary
from qloc.text.parsing import json_of

FORMAT_VERSION: Final = 1
"""Version of the form of a registration."""


@dataclass(frozen=True, kw_only=True)
class Registration:
    """A plan with its date, versions, and what had been extracted when it was locked.

    Attributes
    ----------
    locked : str
        Date and time, UTC, in ISO 8601.
    plan : Plan
        The whole plan, every default in it.
    versions : mapping of str to str
        Of qloc and of the libraries under it.
    extracted : mapping of str to (mapping of str to str)
        By store: phase → fingerprint of what was in it; empty where no store was named.
    sha256 : str
        Digest of all of the above, as canonical JSON.
    """

    locked: str
    plan: Plan
    versions: Mapping[str, str]
    extracted: Mapping[str, Mapping[str, str]]
    sha256: str = ""

    def content(self) -> dict[str, Any]:
        """Return what the digest is of.

        Returns
        -------
        dict of str to Any
            JSON, without the digest.
        """
        return {
            "format": FORMAT_VERSION,
            "locked": self.locked,
            "plan": self.plan.model_dump(mode="json"),
            "versions": dict(self.versions),
            "extracted": {store: dict(phases) for store, phases in self.extracted.items()},
        }

    def save(self, path: Path) -> Path:
        """Write the registration; one that is there is never replaced.

        Parameters
        ----------
        path : Path
            The file.

        Returns
        -------
        Path
            The same.

        Raises
        ------
        InputError
            There is a file of this name.
        StorageError
            The disk refused.
        """
        if path.exists():
            rule, action = "a new file: a registration is never replaced", "Choose another --out"
            raise InputError(message("registration", str(path), rule, str(path.absolute()), action))
        content = self.content()
        text = json.dumps({**content, "sha256": digest(content)}, indent=1, ensure_ascii=False)
        return write_text(text + "\n", path, "registration")


def registration_from(path: Path) -> Registration | None:
    """Read a registration, and check that nothing in it was changed.

    Parameters
    ----------
    path : Path
        A file.

    Returns
    -------
    Registration or None
        None where the file is no registration, such as a plan in YAML.

    Raises
    ------
    InputError
        It was changed after it was locked, or is of another format.
    """
    try:
        content = json_of(read_ordinary(path, most=MOST_SETTINGS))
    except (OSError, ValueError):
        return None  # a plan, or nothing: whoever reads plans says so
    if not isinstance(content, dict) or "locked" not in content:
        return None
    if content.get("format") != FORMAT_VERSION:
        rule, action = str(FORMAT_VERSION), "Read it with the qloc that wrote it"
        raise InputError(message("format of registration", content.get("format"), rule, str(path), action))
    told = content.pop("sha256", None)
    if digest(content) != told:
        rule, action = f"{digest(content)}, the digest of its content", "Use the file as it was locked"
        raise InputError(message("sha256", told, rule, f"registration {path}", action))
    try:
        plan = Plan.model_validate(content.get("plan"))
    except ValidationError as error:
        rule, action = "a plan that this version reads", "Read it with the qloc that wrote it"
        problems = "; ".join(problem["msg"] for problem in error.errors())
        raise InputError(message("plan", problems, rule, f"registration {path}", action)) from None
    del content["format"]
    if not _is_registration(content):
        rule, action = (
            "date, plan, versions and stores as `qloc plan lock` writes them",
            "Lock the plan again",
        )
        raise InputError(message("registration", "of another form", rule, str(path), action))
    return Registration(**{**content, "plan": plan}, sha256=told)


def _is_registration(content: Mapping[str, Any]) -> bool:
    def texts(held: object) -> bool:
        return isinstance(held, dict) and all(isinstance(text, str) for text in held.values())

    extracted = content.get("extracted")
    return (
        set(content) == {"locked", "plan", "versions", "extracted"}
        and isinstance(content["locked"], str)
        and texts(content["versions"])
        and isinstance(extracted, dict)
        and all(texts(phases) for phases in extracted.values())
    )
