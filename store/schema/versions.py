"""Schema versions: stores of past versions stay readable for ever, stores of future versions are refused.

What was added under the same version is there where the layout says so, and older stores do without it. Any
change of a name, of dims or of a meaning raises :data:`~qloc.store.schema.variables.SCHEMA_VERSION`, and
adds to :data:`UPGRADES` a function that turns an older store's root attributes into those of the next
version; the store itself stays as it is. A store of each version is in tests/store/fixtures, and must lead
to the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from qloc.errors import SchemaError, message
from qloc.store.files.place import Place
from qloc.store.files.url import Url
from qloc.store.schema import variables
from qloc.text.parsing import json_of

Upgrade = Callable[[Mapping[str, Any]], dict[str, Any]]

UPGRADES: Final[dict[int, Upgrade]] = {}
"""By version n: the root attributes of version n + 1 that a store of version n would have had."""


def is_newer(version: object) -> bool:
    """Return whether this version of qloc does not know a schema yet.

    Parameters
    ----------
    version : object
        The schema version that a store gives.

    Returns
    -------
    bool
        True for a whole number above that of this version of qloc; anything else is left to other checks.
    """
    return type(version) is int and version > variables.SCHEMA_VERSION


def newer_schema(version: object, path: Path | Url, writer: str | None) -> SchemaError:
    """Return the error for a store of a schema that this version of qloc does not know.

    Parameters
    ----------
    version : object
        The schema version that the store gives.
    path : Path or Url
        The store.
    writer : str or None
        The version of qloc that wrote it, if known.

    Returns
    -------
    SchemaError
        Its message says what to update to.
    """
    action = f"Update qloc: {f'qloc {writer}' if writer else 'a later version'} wrote this store"
    rule = f"at most {variables.SCHEMA_VERSION}, which this version of qloc reads"
    return SchemaError(message("schema version", version, rule, str(path), action))


def upgraded(attributes: Mapping[str, Any], place: Place) -> dict[str, Any]:
    """Return root attributes as the present schema has them, except for the version number itself.

    Parameters
    ----------
    attributes : mapping
        Root attributes of a store of any version.
    place : Place
        The store, for messages.

    Returns
    -------
    dict of str to Any
        The attributes, with the ``schema_version`` that the store gives.

    Raises
    ------
    SchemaError
        The store is of a newer schema, or its version is no whole number from 1 on.
    """
    version = attributes["schema_version"]
    if is_newer(version):
        raise newer_schema(version, place.path, _writer(place))
    if type(version) is not int or version < 1:
        rule, action = "a whole number from 1 on", "Take the store from its source again"
        raise SchemaError(message("schema version", version, rule, str(place.path), action))
    converted = dict(attributes)
    for n in range(version, variables.SCHEMA_VERSION):
        converted = UPGRADES[n](converted)
    return converted | {"schema_version": version}


def refuse_older(attributes: Mapping[str, Any], place: Place) -> None:
    """Refuse to write into a store of an older schema: its units would be of two schemas.

    Parameters
    ----------
    attributes : mapping
        Root attributes of the store.
    place : Place
        The store, for the message.

    Raises
    ------
    SchemaError
        The store is of an older schema.
    """
    if attributes["schema_version"] != variables.SCHEMA_VERSION:
        rule = f"{variables.SCHEMA_VERSION}, to go on with an unfinished store"
        action = "Finish it with the version of qloc that began it"
        raise SchemaError(
            message("schema version", attributes["schema_version"], rule, str(place.path), action)
        )


def _writer(place: Place) -> str | None:
    """Return the version of qloc that wrote a store of any schema, if its manifest can be read that far."""
    try:
        return str(json_of(place.read("manifest.json"))["run"]["qloc"])
    except (OSError, ValueError, LookupError, TypeError):
        return None
