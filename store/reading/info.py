"""Summarize a store: its contents, completeness and size, and the analyses that it allows."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from qloc.accuracy.path_accuracy import GUIDE, UNKNOWN, PathAccuracy
from qloc.accuracy.readable_text import unreadable_text
from qloc.accuracy.rule_in_words import rule_in_words
from qloc.store.files.place import Folder, Place
from qloc.store.integrity.check import OURS
from qloc.store.places.open_place import place_of
from qloc.store.reading.open_store import StoredStudy, open_store
from qloc.store.schema import manifest
from qloc.store.schema.phase_variables import LABELLED
from qloc.store.units import ledger
from qloc.store.writing import append
from qloc.text.rounding import counted, no_less, number, share
from qloc.vocabulary import FACT, HEAD, LAYER, NEURON, NO_INDEX, QUERY

_MOST_NAMES: Final = 12
"""Relations that are named where not everything is told."""


def info(path: str | Path) -> dict[str, Any]:
    """Return the summary that ``qloc store info`` prints.

    Parameters
    ----------
    path : str or Path
        The store, complete or not, packed or not, or a URL.

    Returns
    -------
    dict
        JSON with the keys ``path, schema_version, complete, units, facts, queries, relations, methods,
        network, tier, panel, quadrature, bytes, allows, phases, made, unreadable_text, appending,
        fingerprint, attributes, run``. ``unreadable_text`` says so where the model cannot read the held-out
        text. ``bytes`` has the size of each group and of the whole store, and under ``dense`` the size that
        attribution, activation and gradient would have without a panel and without compression. ``phases``
        has the labels of every appended phase, ``made`` how many facts were edited, how many of them have
        prompts of what that entails, and how many queries were traced; ``quadrature`` has the rule in words
        and how exactly it integrated each method's paths, and ``appending`` the number of units of phases
        that are still being appended.

    Raises
    ------
    SchemaError
        If the path is not a qloc store.
    VerificationError
        If the manifest is broken.
    """
    place = place_of(path)
    study = open_store(place)
    layout = study.layout
    known = study.queries["known"].to_numpy()
    return {
        "path": str(place.path),
        "schema_version": study.attrs["schema_version"],
        "complete": study.complete,
        "units": {"planned": len(layout.units), "written": len(layout.units) - len(study.missing)},
        "facts": {
            "all": layout.sizes[FACT],
            "with queries": int((study.facts["n_queries"].to_numpy() > 0).sum()),
        },
        "queries": {"planned": layout.sizes[QUERY], "written": len(known), "known": int((known == 1).sum())},
        "relations": list(dict.fromkeys(study.facts["relation"].to_numpy().tolist())),
        "methods": list(layout.methods),
        "network": {"layers": layout.sizes[LAYER], "neurons of a layer": layout.sizes[NEURON]},
        "tier": layout.tier,
        "panel": _panel(study),
        "quadrature": _quadrature(study),
        "bytes": _bytes(study, place),
        "allows": _allows(study),
        "phases": {
            name: {dim: list(phase.labels[dim]) for dim in LABELLED if dim in phase.labels}
            for name, phase in layout.phases.items()
        },
        "made": _made(study),
        "unreadable_text": _unreadable(study),
        "appending": _appending(place.path, len(layout.units)) if isinstance(place, Folder) else {},
        "fingerprint": {phase: made["digest"] for phase, made in study.attrs["fingerprint"].items()},
        "attributes": {name: study.attrs[name] for name in sorted(study.attrs) if name not in OURS},
        "run": manifest.read(place)["run"] if study.complete else {},
    }


def _unreadable(study: StoredStudy) -> str:
    edits = study.edits
    if edits is None or "base_text_nats" not in edits:
        return ""
    return unreadable_text(edits["base_text_nats"].to_numpy(), edits.attrs)


def _made(study: StoredStudy) -> dict[str, dict[str, int]]:
    """Count what was edited, asked of what that entails, and traced."""
    made: dict[str, dict[str, int]] = {}
    if study.edits is not None:
        made["edits"] = {"facts": int((study.edits["edited_query"].to_numpy() >= 0).sum())}
    if study.entailments is not None:
        prompts = study.entailments["kind"].to_numpy().astype(str) != ""
        made["entailments"] = {"facts": int(prompts.any(axis=1).sum()), "prompts": int(prompts.sum())}
    if study.tracing is not None:
        traced = np.flatnonzero(~np.isnan(study.tracing["clean_log_odds"].to_numpy()))
        facts = np.unique(study.queries[FACT].to_numpy()[traced])
        made["tracing"] = {"queries": len(traced), "facts": len(facts)}
    return made


def _made_words(made: Mapping[str, Mapping[str, int]], phase: str) -> list[str]:
    """Return in words what a phase made."""
    words: list[str] = []
    if phase == "edits" and phase in made:
        words.append(f"{counted(made[phase]['facts'], 'fact')} edited")
    if phase == "edits" and "entailments" in made:
        of = made["entailments"]
        asked = counted(of["prompts"], "prompt")
        words.append(f"{counted(of['facts'], 'fact')} with {asked} of what the edit entails, or leaves alone")
    if phase == "tracing" and phase in made:
        of = made[phase]
        words.append(f"{counted(of['queries'], 'query')} of {counted(of['facts'], 'fact')} traced")
    return words


def _appending(path: Path, planned: int) -> dict[str, dict[str, int]]:
    """Count the units of phases that are being appended, or whose appending was interrupted."""
    return {
        phase: {
            "planned": planned,
            "written": sum(1 for _ in ledger.records(append.folder_of(path, phase))),
        }
        for phase in append.under_way(path)
    }


def _panel(study: StoredStudy) -> dict[str, Any]:
    floors = study.signals["panel_floor"].to_numpy()
    sizes = (study.signals["panel_neuron"].to_numpy() != NO_INDEX).sum(axis=1)[~np.isnan(floors)]
    any_panel = len(sizes) > 0
    return {
        "floor": study.layout.floor,
        "capacity": study.layout.capacity,
        "median neurons of a fact": float(np.median(sizes)) if any_panel else None,
        "most neurons of a fact": int(sizes.max()) if any_panel else None,
        "share of the network": float(sizes.mean() / study.layout.n_network) if any_panel else None,
        "facts over capacity": int((floors > study.layout.floor).sum()),
        "highest floor": float(np.nanmax(floors)) if any_panel else None,
    }


def _quadrature(study: StoredStudy) -> dict[str, Any]:
    methods = enumerate(study.layout.methods)
    accuracy = {name: PathAccuracy.of(study.signals, number) for number, name in methods}
    integrated = any(not of.without_path().all() for of in accuracy.values())
    return {
        "rule": rule_in_words(study.attrs) if integrated else "none: nothing was integrated along a path",
        "methods": {name: _accuracy(of) for name, of in accuracy.items()},
    }


def _accuracy(accuracy: PathAccuracy) -> dict[str, Any]:
    """Count the paths of one method; None where nothing is known, or there is no path."""
    taken, bound = accuracy.n_nodes[accuracy.n_nodes > 0], accuracy.error_bound
    says = accuracy.converged[accuracy.converged != UNKNOWN]
    failed = accuracy.converged_queries() == 0
    return {
        "paths": len(taken),
        "not converged": int((says == 0).sum()) if len(says) else None,
        "queries not converged": int(failed.sum()) if len(says) else None,
        "largest bound": float(np.nanmax(bound)) if np.isfinite(bound).any() else None,
        "mean gradients": float(taken.mean()) if len(taken) else None,
        "most gradients": int(taken.max()) if len(taken) else None,
    }


def _bytes(study: StoredStudy, place: Place) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for name in manifest.objects(place):
        group = name.split("/")[0] if "/" in name else "root"
        sizes[group] = sizes.get(group, 0) + (place.size(name) or 0)
    n_signals = len(study.layout.methods) + 2
    rows, itemsize = study.queries.sizes[QUERY], np.dtype(study.layout.store_dtype).itemsize
    return {
        **sizes,
        "all": sum(sizes.values()),
        "dense": n_signals * rows * study.layout.n_network * itemsize,
    }


def _allows(study: StoredStudy) -> list[str]:
    floors = study.floors
    highest = float(np.nanmax(floors)) if (~np.isnan(floors)).any() else 0.0
    over = int((floors > study.layout.floor).sum())
    dense = study.layout.tier == "dense"
    sets = "any threshold" if dense else f"thresholds t ≥ {study.layout.floor:g}, exactly"
    if over and not dense:
        sets += f" ({over} facts overflow the panel: with them t ≥ {no_less(highest)})"
    lines = [
        f"neuron sets, consistency, overlap: {sets}",
        "behavioural consistency: ranks, top tokens and candidate answers of every query",
        "localization level R1² (Gram matrices of full score vectors)",
        "consistency-aware sets (CAS) of attribution" + (" and activation" if dense else ""),
    ]
    if study.layout.sizes[HEAD]:
        lines.append("knowledge synapses (attention)")
    allowed = {
        "interventions": "effects of interventions, by operation and neuron set",
        "synapses": "effects on answers and neurons of changed attention",
        "synapse_views": "single facts' neurons and attention, knowledge synapses suppressed",
        "reprompts": "the ceiling of overlaps: queries against themselves in another form",
        "edits": "reliability, generalization and locality of edits",
        "entailments": "whether edits carry over to inverses and synonyms, and leave the neighborhood alone",
        "tracing": "effects of restoring states, by part, token and layer (causal tracing)",
    }
    groups = [group for phase in study.layout.phases.values() for group in phase.groups]
    return lines + [allowed[group] for group in groups]


def info_text(summary: Mapping[str, Any], *, everything: bool = False, width: int = 100) -> str:
    """Format the result of :func:`info` as text for a terminal.

    Parameters
    ----------
    summary : Mapping
        The result of :func:`info`.
    everything : bool, default False
        Tell also the labels of phases, fingerprints, and what the store says of the study and its run, the
        plan among it; else what fits on one screen.
    width : int, default 100
        Characters of a line.

    Returns
    -------
    str
        Several lines, without a newline at the end.
    """
    rows = [*_rows(summary, everything=everything)]
    if everything:
        rows += [(f"{phase} digest", digest) for phase, digest in summary["fingerprint"].items()]
    lines = [_head(summary), *(line for name, text in rows for line in _row(name, text, width))]
    if everything:
        for heading, attributes in (("study", summary["attributes"]), ("run", summary["run"])):
            told = {name: value for name, value in attributes.items() if value not in (None, "", [])}
            lines += [f"  {heading}"] if told else []
            for name, value in told.items():
                lines += _filled(f"{name}: {_words(value)}", "    ", "      ", width)
    lines.append("  allows")
    return "\n".join([*lines, *(line for part in _allowed(summary, width) for line in part)])


def _head(summary: Mapping[str, Any]) -> str:
    units = summary["units"]
    unfinished = f"unfinished: {units['written']} of {units['planned']} units"
    state = "complete" if summary["complete"] else unfinished
    return f"{summary['path']}: qloc store, schema {summary['schema_version']}, {state}"


def _rows(summary: Mapping[str, Any], *, everything: bool) -> Iterator[tuple[str, str]]:
    """Yield name and text of each row, what a reader looks for first in front."""
    facts, queries, panel, network = (summary[name] for name in ("facts", "queries", "panel", "network"))
    if "model" in summary["attributes"]:
        yield "model", _words(summary["attributes"]["model"])
    yield "facts", f"{facts['all']:,}, {facts['with queries']:,} with queries"
    known = f" ({share(queries['known'] / queries['written'])} of them)" if queries["written"] else ""
    yield "queries", f"{queries['written']:,} of {queries['planned']:,}, {queries['known']:,} known{known}"
    names = summary["relations"]
    yield "relations", f"{len(names)}: {', '.join(names if everything else _few(names))}"
    yield "size", _size(summary["bytes"])
    yield "methods", ", ".join(summary["methods"])
    yield "network", f"{network['layers']} layers × {network['neurons of a layer']:,} neurons"
    if summary["tier"] == "dense":
        yield "tier", "dense: every neuron, for any threshold"
    elif panel["share of the network"] is None:
        yield "tier", summary["tier"]
    else:
        yield (
            "panel",
            f"floor {panel['floor']:g}; {panel['median neurons of a fact']:g} neurons a fact (median), "
            f"{panel['most neurons of a fact']} at most, "
            f"{number(100 * panel['share of the network'])}% of the network; "
            f"{panel['facts over capacity']} facts over the capacity of {panel['capacity']}",
        )
    yield from _quadrature_rows(summary["quadrature"])
    if summary["unreadable_text"]:
        yield "text", summary["unreadable_text"]
    for phase, labels in summary["phases"].items():
        axes = [f"{dim} {', '.join(of) if everything else len(of)}" for dim, of in labels.items()]
        axes += _made_words(summary["made"], phase)
        yield phase, "; ".join(axes) or "nothing: it cannot be run on this model"
    for phase, so_far in summary["appending"].items():
        yield phase, f"being appended: {so_far['written']} of {so_far['planned']} units"


def _few(names: list[str]) -> list[str]:
    return names if len(names) <= _MOST_NAMES else [*names[:_MOST_NAMES], "…"]


def _row(name: str, text: str, width: int) -> list[str]:
    return _filled(f"{name:<13} {text}", "  ", " " * 16, width)


def _filled(text: str, first: str, rest: str, width: int) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _allowed(summary: Mapping[str, Any], width: int) -> Iterator[list[str]]:
    return (_filled(f"- {line}", "    ", "      ", width) for line in summary["allows"])


def _quadrature_rows(quadrature: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    told = [text for name, of in quadrature["methods"].items() if (text := _paths(name, of))]
    yield "quadrature", "; ".join([quadrature["rule"], *told])
    for name, of in quadrature["methods"].items():
        if failed := of["queries not converged"]:
            yield (
                "",
                f"{name}: the sets of {failed:,} {'query' if failed == 1 else 'queries'} may be "
                "wrong, and what is computed from them: consistency, overlap, layers, effects of "
                f"interventions and edits ({GUIDE}). Answers, behavioural consistency and attention do not "
                "depend on paths",
            )


def _paths(name: str, of: Mapping[str, Any]) -> str:
    """Return in words how the paths of a method were integrated; empty where there is nothing to say."""
    if not of["paths"]:
        return ""
    words = f"{name}: "
    if of["not converged"] is not None:
        words += f"{of['not converged']:,} of {of['paths']:,} query–layer paths did not converge, "
    if of["largest bound"] is not None:
        words += f"largest error bound {of['largest bound']:.2g}, "
    return words + f"gradients a layer {of['mean gradients']:.1f} mean, {of['most gradients']:,} most"


def _size(sizes: Mapping[str, int]) -> str:
    groups = ", ".join(f"{name} {_human(n)}" for name, n in sizes.items() if name not in ("all", "dense"))
    return f"{_human(sizes['all'])} ({groups}); dense signals alone would take {_human(sizes['dense'])}"


def _human(n: float) -> str:
    """Format a number of bytes in decimal units.

    Examples
    --------
    >>> _human(999), _human(158_000_000_000)
    ('999 B', '158.0 GB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if n < 1000:
            return f"{n:.0f} {unit}" if unit == "B" else f"{n:.1f} {unit}"
        n /= 1000
    return f"{n:.1f} TB"


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_words(inner)}" for key, inner in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(_words, value)) or "none"
    return str(value)
