"""What an extraction would still take, told from a few of its facts run through every phase."""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Final

from qloc.facts import candidates, entailment_counts
from qloc.text.rounding import counted
from qloc.vocabulary import PAIR
from qloc.workflows import append_phases
from qloc.workflows.analyze import open_signals
from qloc.workflows.signal_units import opened

if TYPE_CHECKING:
    from qloc.block import Shard, Unit
    from qloc.extract.signals.extraction import Extraction
    from qloc.facts import Fact
    from qloc.phase_plan import EditPlan, TracingPlan

PROBED_QUERIES: Final = 12
"""Queries that are timed, if one relation has as many facts for them; as many before are not, to warm up."""

_SIGNALS: Final = "signals"


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What is still to be spent on a store, estimated.

    Attributes
    ----------
    seconds : mapping of str to float
        Of each phase, for its units that are missing; 0 where none is.
    n_bytes : int
        On disk in the end, of all phases that are asked for.
    n_memory : int
        Largest resident memory of this process so far, bytes; 0 where the system does not say.
    n_gpu : int
        Most memory that was taken on GPUs so far, bytes, all of them together.
    n_done : mapping of str to int
        Of each phase, units that the store has already.
    asked_besides : tuple of str
        What phases ask beside the queries, one sentence each: what edits entail, and probe words; and what is
        not estimated.
    nothing_left : bool
        Whether the store has every unit of every phase.
    """

    seconds: Mapping[str, float] = field(default_factory=dict)
    n_bytes: int = 0
    n_memory: int = 0
    n_gpu: int = 0
    n_done: Mapping[str, int] = field(default_factory=dict)
    asked_besides: tuple[str, ...] = ()
    nothing_left: bool = False


def estimate(extraction: Extraction, out: Path, shard: Shard | None = None) -> Estimate:
    """Run a few facts through all phases in a store of their own, and tell what the rest would take.

    Time and size of signals and interventions grow with queries, those of edits with the facts that are
    edited, and those of tracing with the queries that are traced: known ones, whose share is that of the few.

    Parameters
    ----------
    extraction : Extraction
        The whole study.
    out : Path
        Its store: nothing yet, or what an earlier run left. It is not changed.
    shard : Shard or None
        The part of the units that would be run; None for all.

    Returns
    -------
    Estimate
        By phase.

    Raises
    ------
    InputError, FingerprintError, ModelError
        As for an extraction.
    """
    from qloc.extract.models.devices import peak_of_gpus

    phases = [_SIGNALS, *(phase for phase in extraction.plan.phases if phase != _SIGNALS)]
    recorded = {
        phase: _recorded(extraction, out, phase) for phase in phases
    }  # refuses before weights are read
    if all(numbers is None for numbers in recorded.values()):
        return Estimate(
            seconds=dict.fromkeys(phases, 0.0),
            n_done=dict.fromkeys(phases, _n_units(out, shard)),
            nothing_left=True,
        )
    outline = extraction.outline
    units = outline.units if shard is None else shard.units(outline.units)
    left = {phase: _n_queries(units, numbers) for phase, numbers in recorded.items()}
    n_done = {
        phase: len(units) if numbers is None else sum(unit.number in numbers for unit in units)
        for phase, numbers in recorded.items()
    }
    few = _few(extraction)
    queries, share = outline.sizes["query"], _n_queries(units, frozenset())
    seconds: dict[str, float] = {}
    n_bytes, size = 0.0, 0
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "probe.zarr"
        for phase in phases:
            spent = (
                _timed_signals(few, store) if phase == _SIGNALS else append_phases.timed(few, store, phase)
            )
            before, size = size, _size_of_chunks(store)
            times = _times(extraction, few, store, phase)
            # Of the units of the probe, the last was timed; all of them were kept.
            n_bytes += share / queries * times * (size - before) / len(few.outline.units)
            seconds[phase] = left[phase] / queries * times * spent
    return Estimate(
        seconds=seconds,
        n_bytes=round(n_bytes),
        n_memory=_peak(),
        n_gpu=peak_of_gpus(),
        n_done=n_done,
        asked_besides=(*_asked_besides(extraction), *_not_told(seconds, left)),
    )


def _not_told(seconds: Mapping[str, float], left: Mapping[str, int]) -> Iterator[str]:
    """Yield what the few facts do not tell."""
    if left.get("tracing") and not seconds["tracing"]:
        yield "Tracing is not in it: it takes known queries, and none of those that were tried is traced."


def _times(extraction: Extraction, few: Extraction, store: Path, phase: str) -> float:
    """Return how much more a phase has to do than in the last of the few facts' units, which was timed."""
    timed = few.outline.units[-1]
    if phase == "edits":
        part = extraction.plan.edits
        facts = sum(_at_most(n, part.max_facts) for n in _askable(extraction, *_kinds(part)).values())
        return facts / timed.n_facts
    if phase == "tracing":
        return _times_traced(extraction, few, store)
    return extraction.outline.sizes["query"] / timed.n_queries


def _times_traced(extraction: Extraction, few: Extraction, store: Path) -> float:
    """Return the same of tracing; 0 where none of the queries that were timed is traced."""
    from qloc.analysis.tracing.traced_queries import TracedQueries

    part, timed = extraction.plan.tracing, few.outline.units[-1]
    study = open_signals(store)
    traced = TracedQueries(study=study, part=few.plan.tracing, seed=few.plan.seed).chosen
    here = int(traced[timed.first_query : timed.last_query].sum())
    if not here:
        return 0.0
    of_facts = len(set(study.column("queries", "fact")[traced].tolist()))
    usable = of_facts / len(few.facts.facts)
    of = _askable(extraction, *_kinds(part)).values()
    facts = sum(_at_most(usable * n, part.max_facts) for n in of)
    return facts * int(traced.sum()) / of_facts / here


def _kinds(part: EditPlan | TracingPlan) -> tuple[str, ...]:
    """Name the kinds of facts that a phase takes."""
    return ("fact", PAIR) if part.pairs else ("fact",)


def _askable(extraction: Extraction, *kinds: str) -> Counter[str]:
    """Count the facts of these kinds that can be asked, by relation."""
    facts = zip(extraction.facts.facts, extraction.asking.asked, strict=True)
    return Counter(fact.relation for fact, asked in facts if asked and fact.kind in kinds)


def _at_most(n: float, most: int | None) -> float:
    return n if most is None else min(n, most)


def _asked_besides(extraction: Extraction) -> Iterator[str]:
    """Yield what the phases that are asked for ask beside the queries, in words."""
    facts, plan = extraction.facts.facts, extraction.plan
    counts = entailment_counts(facts)
    if counts and "edits" in plan.phases and plan.edits.entailments:
        told = ", ".join(f"{counted(n, 'fact')} with {what}" for what, n in counts.items())
        yield f"Edits are also tried on what they entail: {told}."
    if plan.probes is not None and not {"interventions", "edits"}.isdisjoint(plan.phases):
        words = plan.probes.words_of(candidates(facts)).values()
        pairs = any(fact.kind == PAIR for fact in facts)
        forms = ", and the bad forms of minimal pairs" if pairs else ""
        n = counted(max(map(len, words), default=0), "probe word")
        yield f"Each change is also tried on {n} a query at most{forms}."


def _n_units(store: Path, shard: Shard | None) -> int:
    from qloc.store.integrity.check import layout_of

    units = layout_of(store).units
    return len(units if shard is None else shard.units(units))


def _n_queries(units: Sequence[Unit], recorded: frozenset[int] | None) -> int:
    """Queries of the units that are not recorded; None where all are."""
    if recorded is None:
        return 0
    return sum(unit.n_queries for unit in units if unit.number not in recorded)


def _few(extraction: Extraction) -> Extraction:
    """Two units of one relation's first facts that can be asked; every one of them is edited.

    Facts of one object give each other nothing to be edited to: other objects come first.
    """
    from qloc.extract.signals.extraction import Extraction

    most = _of_one_relation(extraction)
    first_of = {fact.object: fact.id for fact, _ in reversed(most)}
    most = sorted(most, key=lambda entry: first_of[entry[0].object] != entry[0].id)  # stable
    n, n_queries = 0, 0
    while n < len(most) // 2 and n_queries < PROBED_QUERIES:
        n_queries += most[n][1]
        n += 1
    chosen = tuple(fact for fact, _ in most[: 2 * n or 1])
    edits = extraction.plan.edits.model_copy(update={"max_facts": None})
    tracing = extraction.plan.tracing.model_copy(update={"max_facts": None})
    probes = extraction.plan.probes
    if probes is not None:  # as many words as in the whole study, of the relations that are tried
        words = probes.words_of(candidates(extraction.facts.facts))
        here = {fact.relation: words[fact.relation] for fact in chosen}
        probes = probes.model_copy(update={"of_relations": here})
    target = extraction.plan.target if any(fact.kind == PAIR for fact in chosen) else "good"
    given = {"unit_facts": max(1, n), "edits": edits, "tracing": tracing, "sets": None, "probes": probes}
    given["target"] = target  # others are of minimal pairs
    return Extraction(
        plan=extraction.plan.model_copy(update=given),
        source=extraction.source,
        facts=replace(extraction.facts, facts=chosen),
    )


def _of_one_relation(extraction: Extraction) -> list[tuple[Fact, int]]:
    """Return the facts of a relation that can be asked, and how many queries of each.

    One of facts, if edits are asked for, since they may entail something; one that has enough facts; and, of
    these, one whose facts entail about as many prompts as the mean of all.
    """
    from qloc.extract.edits.entailed_prompts import n_prompts

    of: dict[str, list[tuple[Fact, int]]] = {}
    for fact, asked in zip(extraction.facts.facts, extraction.asking.asked, strict=True):
        if asked:
            of.setdefault(fact.relation, []).append((fact, len(asked)))
    edits = "edits" in extraction.plan.phases
    entailed = [n_prompts(fact) for facts in of.values() for fact, _ in facts if fact.kind == "fact"]

    def fitness(facts: list[tuple[Fact, int]]) -> tuple[bool, int, float]:
        off = fmean(n_prompts(fact) for fact, _ in facts) - fmean(entailed or [0])
        return (
            not edits or facts[0][0].kind == "fact",
            min(len(facts), 2 * PROBED_QUERIES),
            -abs(off) if edits else 0.0,
        )

    return max(of.values(), key=fitness)


def _timed_signals(few: Extraction, store: Path) -> float:
    """Extract the few facts; the seconds of the last unit, since what is done once is not to be timed."""
    spent = 0.0
    with opened(few, few.outline, store) as writer:
        for unit in few.outline.units:
            clock = time.monotonic()
            writer.write(few.extract(unit))
            spent = time.monotonic() - clock
        writer.finalize()
    return spent


def _recorded(extraction: Extraction, out: Path, phase: str) -> frozenset[int] | None:
    """Numbers of the units of a phase that a store has, None for all; refuses another plan's store."""
    from qloc.store.integrity.check import complete, is_store, layout_of
    from qloc.store.units import ledger
    from qloc.store.writing import append
    from qloc.store.writing.phase_writer import refuse_other_phase
    from qloc.store.writing.skeleton import refuse_other, refuse_other_parameters

    refuse_other(out)
    if not is_store(out):
        return frozenset()
    if phase == _SIGNALS:
        refuse_other_parameters(out, layout_of(out), extraction.fingerprint)
        return None if complete(out) else frozenset(unit.number for unit in ledger.records(out))
    refuse_other_phase(out, phase, append_phases.fingerprint(extraction, phase))
    if append.is_appended(out, phase):
        return None
    return frozenset(unit.number for unit in ledger.records(append.folder_of(out, phase)))


def _size_of_chunks(store: Path) -> int:
    """Size of what grows with the facts: metadata do not."""
    return sum(path.stat().st_size for path in store.rglob("*") if path.is_file() and "c" in path.parts)


def _peak() -> int:
    """Largest resident memory of this process, bytes; 0 where the system does not say."""
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
