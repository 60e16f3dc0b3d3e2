"""Schema versions: stores of past ones are read for ever, those of future ones are refused.

What was added under the same version is there where the layout says so, which older stores do not. Whatever
changes a name, dims or meaning raises :data:`~qloc.store.schema.variables.SCHEMA_VERSION`, and puts into
:data:`UPGRADES` what makes of an older store's root attributes those of the next version; the store itself
stays as it is. A store of each version is in tests/store/fixtures, and must give the same numbers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from qloc.errors import SchemaError, message
from qloc.store.files.place import Place
from qloc.store.files.url import Url
from qloc.store.schema import variables

Upgrade = Callable[[Mapping[str, Any]], dict[str, Any]]

UPGRADES: Final[dict[int, Upgrade]] = {}
"""By version n: the root attributes of version n + 1 that a store of version n would have had."""


def refuse_newer(version: object, path: Path | Url, writer: str | None) -> None:
    """Refuse a store of a schema that this version of qloc does not know.

    Parameters
    ----------
    writer : the version of qloc that wrote it, if that can be told.

    Raises
    ------
    SchemaError : names what to update to.
    """
    if type(version) is int and version > variables.SCHEMA_VERSION:
        action = f"Update qloc: {f'qloc {writer}' if writer else 'a later version'} wrote this store"
        rule = f"at most {variables.SCHEMA_VERSION}, which this version of qloc reads"
        raise SchemaError(message("schema version", version, rule, str(path), action))


def upgraded(attributes: Mapping[str, Any], place: Place) -> dict[str, Any]:
    """Root attributes as the present schema has them, but for their version, whatever wrote the store.

    Raises
    ------
    SchemaError : the store is of a newer schema, or of none.
    """
    version = attributes["schema_version"]
    refuse_newer(version, place.path, _writer(place))
    if type(version) is not int or version < 1:
        rule, action = "a whole number from 1 on", "Take the store from its source again"
        raise SchemaError(message("schema version", version, rule, str(place.path), action))
    found = dict(attributes)
    for n in range(version, variables.SCHEMA_VERSION):
        found = UPGRADES[n](found)
    return found | {"schema_version": version}


def require_present(attributes: Mapping[str, Any], place: Place) -> None:
    """Refuse to write into a store of an older schema: its units would be of two.

    Raises
    ------
    SchemaError : it is of an older one.
    """
    if attributes["schema_version"] != variables.SCHEMA_VERSION:
        rule = f"{variables.SCHEMA_VERSION}, to go on with an unfinished store"
        action = "Finish it with the version of qloc that began it"
        raise SchemaError(
            message("schema version", attributes["schema_version"], rule, str(place.path), action)
        )


def _writer(place: Place) -> str | None:
    """The version of qloc that wrote a store of whatever schema, if its manifest can be read so far."""
    try:
        return str(json.loads(place.read("manifest.json"))["run"]["qloc"])
    except (OSError, ValueError, LookupError, TypeError):
        return None
