"""Write the card: a README.md inside a complete store, for readers who find the store without qloc.

The card depends on the other bytes of the store only: it has no times, no paths, and nothing of the run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from qloc.references import BIBLIOGRAPHY, METHODS
from qloc.store.files.durable import write_bytes
from qloc.store.files.place import Folder
from qloc.store.integrity.check import OURS, root_attributes
from qloc.store.names import CARD, ROOT, is_object
from qloc.store.schema.layout import Layout
from qloc.store.schema.zarr_arrays import stored
from qloc.vocabulary import FACT, LAYER, NEURON, QUERY

_GROUPS: Final = {
    "facts": "what was asked about",
    "queries": "the prompts, and how the model answered",
    "signals": "attribution, activation and gradient of neurons",
    "attention": "what the target position attends to",
    "grams": "inner products of full score vectors",
    "statistics": "sums of activations over each relation's queries",
    "neurons": "the tokens that neurons promote and suppress",
    "interventions": "answers with neurons suppressed, enhanced, replaced",
    "synapses": "answers with attention suppressed, enhanced",
    "synapse_views": "activations of some facts' neurons with attention suppressed",
    "reprompts": "queries asked again in another form, and the neurons they share",
    "edits": "answers with rows of down-projections edited",
    "entailments": "answers to what edits entail, and to what they should leave alone",
    "tracing": "answers with the subject corrupted and one state restored",
}
_REMARKS: Final = {
    "ig_mean": ", from the relation's mean activation: ours",
    "amig_mean_path": ", on one path from the mean baseline",
    "sig": ", carried to neurons: our reading, unverified",
}
"""What stands behind the source of a method."""
_PAGE: Final = """\
---
pretty_name: {name}
license: other
tags: [knowledge-neurons, interpretability, attribution, zarr]
---

# {title}

Neuron attributions of a language model over facts, as one Zarr v3 hierarchy: extracted once with
qloc, to be analyzed without the model. Complete: `manifest.json` has the sha256 of every other file.

## What is in it

{contents}

## How it was made

{made}

## Open it

With xarray and zarr alone:

```python
import xarray as xr

signals = xr.open_zarr("STORE", group="signals", consolidated=False)
queries = xr.open_zarr("STORE", group="queries", consolidated=False)
```

{reading}

With qloc: `qloc.open("STORE")`, `qloc store verify STORE`, `qloc analyze STORE`.

## Licence

The store itself adds no licence. What is in it derives from the model and the facts
named above: their licences hold.

## Citation

{citation}
"""


def write_card(store: Path, layout: Layout) -> None:
    """Write the card of a store whose arrays are complete, durably.

    Parameters
    ----------
    store : Path
        The store.
    layout : Layout
        The layout of the store.

    Raises
    ------
    StorageError
        If the disk refused.
    """
    write_bytes(store / CARD, card_text(store, layout, object_sizes(store)).encode())


def object_sizes(folder: Path) -> dict[str, int]:
    """Return the size of every object in a folder.

    Parameters
    ----------
    folder : Path
        The folder.

    Returns
    -------
    dict of str to int
        Bytes of each object, by its path inside the folder.
    """
    return {name: (folder / name).lstat().st_size for name in Folder(folder).names() if is_object(name)}


def card_text(store: Path, layout: Layout, sizes: Mapping[str, int], added: Path | None = None) -> str:
    """Return the card of a store whose arrays are complete: Markdown with the head of a dataset card.

    Parameters
    ----------
    store : Path
        The store.
    layout : Layout
        The layout of the store.
    sizes : Mapping of str to int
        Bytes of every object that the store will have, by its path.
    added : Path, optional
        A folder whose ``zarr.json`` has the root attributes that the store will have. By default the
        store's own attributes are used.

    Returns
    -------
    str
        The text of README.md.
    """
    attributes = root_attributes(added or store)
    title = f"Neuron attributions of {_words(attributes.get('model', 'a model'))}"
    return _PAGE.format(
        name=json.dumps(title, ensure_ascii=False),
        title=_line(title),
        contents="\n".join(_contents(store, layout, sizes)),
        made="\n".join(_made(attributes)),
        reading=_reading(layout),
        citation="\n".join(_citation(layout)),
    )


def _contents(store: Path, layout: Layout, n_bytes: Mapping[str, int]) -> Iterator[str]:
    sizes = layout.sizes
    known = int((_array(store, "queries/known") == 1).sum())
    relations = len(set(_array(store, "facts/relation").tolist()))
    yield f"- {sizes[FACT]:,} facts of {relations:,} relations; {sizes[QUERY]:,} queries, {known:,} known."
    methods = ", ".join(layout.methods)
    yield f"- {sizes[LAYER]:,} layers of {sizes[NEURON]:,} neurons; attribution by {methods}."
    if layout.tier == "panel":
        yield (
            f"- Tier panel: the neurons of each fact from {layout.floor:g} of a query's maximum on, at most "
            f"{layout.capacity:,} a fact. Thresholds from `panel_floor` up are exact."
        )
    else:
        yield "- Tier dense: every neuron."
    yield from ("", "| group | what | arrays | bytes |", "|---|---|---|---|")
    for name, what in _GROUPS.items():
        inside = {path: n for path, n in n_bytes.items() if path.startswith(f"{name}/")}
        if inside:
            n_arrays = sum(path.count("/") == 2 and path.endswith(f"/{ROOT}") for path in inside)
            yield f"| {name} | {what} | {n_arrays} | {sum(inside.values()):,} |"


def _made(attributes: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted(attributes):
        if name not in OURS and attributes[name] not in (None, "", [], {}):
            yield f"- {_line(name)}: {_line(_words(attributes[name]))}"
    for phase, made in sorted(attributes["fingerprint"].items()):
        yield f"- fingerprint of {_line(phase)}: `{made['digest']}`"


def _reading(layout: Layout) -> str:
    if layout.tier == "dense":
        return "A neuron has the coordinates `layer` and `neuron`."
    return (
        "A slot holds a neuron of the fact's panel, numbered layer · n_neurons + index: "
        '`signals["panel_neuron"].isel(fact=signals["fact"])`, with `n_neurons` in `signals.attrs`.'
    )


def _citation(layout: Layout) -> Iterator[str]:
    yield "- qloc: where does a language model keep a fact? (`qloc cite STORE` lists all references.)"
    yield from (f"- {method}: {_source(method)}" for method in layout.methods if method in METHODS)
    yield "- The model and the facts, as their authors ask."


def _array(store: Path, name: str) -> Any:
    return stored(store / name)


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_words(value[key])}" for key in sorted(value))
    return ", ".join(map(_words, value)) if isinstance(value, list) else str(value)


def _line(text: str) -> str:
    """Escape a text so that it stays one line which no Markdown, table or YAML reader takes for markup."""
    plain = "".join(c if c.isprintable() else " " for c in text)
    return "".join("\\" + c if c in "<>[]`*|#" else c for c in plain)


def _source(method: str) -> str:
    """Return who published a method, and how ours departs from it."""
    return "; ".join(BIBLIOGRAPHY[key].in_text() for key in METHODS[method]) + _REMARKS.get(method, "")
