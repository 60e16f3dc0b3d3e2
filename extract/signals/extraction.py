"""Phase ``signals``: take facts and a model, and return an Outline and then Blocks, unit by unit.

The result of a unit depends on the plan and the unit alone.
"""

from __future__ import annotations

import functools
import gc
import importlib.metadata
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

import numpy as np
import torch

from qloc.block import Block, Outline, Unit, units_of
from qloc.canonical_json import digest
from qloc.errors import InputError, message
from qloc.extract.attribution.amig_sig_baselines import Replacing, refuse_without_baseline
from qloc.extract.attribution.engine import GradientEngine
from qloc.extract.attribution.engine_proof import proved
from qloc.extract.attribution.pre_activation import before_activation
from qloc.extract.attribution.relation_baseline import RelationBaselines, refuse_lone_facts
from qloc.extract.datasets import read_facts
from qloc.extract.models.architectures import Paths
from qloc.extract.models.devices import MAP, described, require_accelerate
from qloc.extract.models.fingerprint import is_older
from qloc.extract.models.loading import LoadedModel, ModelSource, source
from qloc.extract.models.norm_behind import norm_behind_mlp
from qloc.extract.models.out_of_memory import DoesNotFit, noting_what_shrinks, out_of_memory, too_large
from qloc.extract.models.torch_settings import threads
from qloc.extract.passes.attention import why_not_recorded
from qloc.extract.prompts.askable import Asking, ask_facts
from qloc.extract.prompts.minimal_pairs import refuse_contrast_of_facts
from qloc.extract.prompts.reprompts import asked_again
from qloc.extract.prompts.tokenizing import Target, TokenizedQuery
from qloc.extract.signals.answers import MOST_CANDIDATES, N_TOP
from qloc.extract.signals.neuron_tokens import vocabulary_of
from qloc.extract.signals.unit import UnitRun
from qloc.facts import FactSet, candidates
from qloc.methods import method
from qloc.plan import Plan

T = TypeVar("T")


def prepare(plan: Plan) -> Extraction:
    """Read facts, configuration and tokenizer. Weights are loaded when something is computed first.

    Parameters
    ----------
    plan : Plan
        What is to be extracted.

    Returns
    -------
    Extraction
        The planned extraction.

    Raises
    ------
    InputError
        The model or the facts cannot be read.
    MissingDependencyError
        ``--device map`` without accelerate.
    """
    if plan.device == MAP:
        require_accelerate()
    facts = read_facts(
        plan.facts,
        relations=plan.relations,
        max_facts=plan.max_facts,
        seed=plan.seed,
        pairs=plan.pair_groups(),
        pair_queries=plan.pair_queries,
    )
    named = Paths(blocks=plan.blocks, down=plan.down) if plan.blocks and plan.down else None
    return Extraction(plan=plan, source=source(plan.model, plan.revision, named), facts=facts)


_AGAIN: Final[dict[tuple[Plan, str, bool], Extraction]] = {}


def _prepared_again(plan: Plan, expected: str, older: bool = False) -> Extraction:
    """Prepare an extraction that another process planned, once in this process.

    The one before it, its weights and what phases made of it are let go first: a process has room for one.

    Raises
    ------
    InputError
        Another model, or other facts, are at the plan's paths here.
    """
    key = (plan, expected, older)
    if key not in _AGAIN:
        for earlier in _AGAIN.values():
            earlier.made.clear()
        _AGAIN.clear()
        gc.collect()
        _AGAIN[key] = _as_planned(plan, expected, older)
    return _AGAIN[key]


def _as_planned(plan: Plan, expected: str, older: bool) -> Extraction:
    extraction = replace(prepare(plan), older=older)
    if (actual := digest(extraction.fingerprint)) != expected:
        got, rule = f"of fingerprint {actual[:12]}", f"those of fingerprint {expected[:12]}, as planned"
        place, action = (
            f"{plan.model} and {plan.facts} on {platform.node()}",
            "Give every worker the same files",
        )
        raise InputError(message("model or facts", got, rule, place, action))
    return extraction


@dataclass(frozen=True)
class Extraction:
    """A planned extraction of phase ``signals``.

    It is pickled as its plan: a process that receives it prepares it anew, once, and keeps it with its
    weights.

    Attributes
    ----------
    plan : Plan
        What is to be extracted.
    source : ModelSource
        The model's configuration and tokenizer, and where its weights are.
    facts : FactSet
        The facts that the plan selects.
    older : bool
        Whether model and tokenizer are in the fingerprint as in the store of an older version.
    made : dict
        What phases made of the extraction and keep while they run, such as their sets of neurons; it goes
        with the extraction, so that no other plan, device or process is given it.
    """

    plan: Plan
    source: ModelSource
    facts: FactSet
    older: bool = False
    made: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __reduce__(self) -> tuple[Callable[[Plan, str, bool], Extraction], tuple[Plan, str, bool]]:
        """Pickle as the plan, and the digest of the fingerprint that it led to here."""
        return _prepared_again, (self.plan, digest(self.fingerprint), self.older)

    def as_in(self, made_from: Mapping[str, Any]) -> Extraction:
        """Return the extraction with its fingerprint in the form of a store's, to go on with the store.

        Parameters
        ----------
        made_from : Mapping
            What the fingerprint of the store's signals is made from.

        Returns
        -------
        Extraction
            This one, unless a version of qloc made the store whose fingerprints of models depend on the
            installed version of transformers.
        """
        older = is_older(made_from)
        return self if older == self.older else replace(self, older=older)

    @functools.cached_property
    def fingerprint(self) -> dict[str, Any]:
        """Everything that the phase's numbers depend on, nested; no paths, devices or times.

        Returns
        -------
        dict
            Digests of model, tokenizer and facts, and the parameters of the plan.
        """
        return {
            "phase": "signals",
            "model": self.source.fingerprint(older=self.older),
            "tokenizer": self.source.tokenizer_fingerprint(older=self.older),
            "facts": self.facts.digest(),
            "parameters": {**self.plan.signal_parameters(), "site": self.plan.site, **self._rules},
        }

    @property
    def _rules(self) -> dict[str, str]:
        """Rules that bear on some facts and tokenizers: older stores of the others keep their fingerprint."""
        rules = {}
        if any(len(fact.objects) > 1 for fact in self.facts.facts):
            rules["right_answers"] = "of any number of tokens, never a control"
        if not self.asking.is_as_by_offsets:
            rules["answer_tokens_are"] = "those that decode to the answer"
        return rules

    @functools.cached_property
    def asking(self) -> Asking:
        """The queries that this model can be asked, and why it cannot be asked the others.

        Returns
        -------
        Asking
            Tokenized queries of each fact, and counts of excluded queries by reason.

        Raises
        ------
        InputError
            The model cannot be asked any query, or the plan's target or method does not suit the facts.
        """
        refuse_contrast_of_facts(self.plan, self.facts)
        asking = ask_facts(self.facts, self.source.encoder())
        if not any(asking.asked):
            reasons = (
                ", ".join(f"{count} {reason}" for reason, count in asking.excluded.items()) or "none given"
            )
            rule = f"at least one query that {self.source.name} can be asked (left out: {reasons})"
            raise InputError(
                message(
                    "facts",
                    self.plan.facts,
                    rule,
                    "qloc extract --facts",
                    "Give other facts or another model",
                )
            )
        paths = {method(name).path for name in self.plan.methods}
        if "relation" in paths:
            refuse_lone_facts(self.facts.facts, asking.asked)
        if paths & {"mean", "token"}:
            replacing = Replacing.of(self.source.tokenizer, self.source.family)
            refuse_without_baseline(replacing, (query for queries in asking.asked for query in queries))
        return asking

    @functools.cached_property
    def loaded(self) -> LoadedModel:
        """The model with its weights, which are loaded at the first use.

        Returns
        -------
        LoadedModel
            The model on its device.

        Raises
        ------
        ModelError
            The weights do not fit into memory.
        """
        with _memory_for(f"the weights of {self.source.name}"):
            return self.source.load(dtype=self.plan.dtype, device=self.plan.device, spare=self.plan.memory)

    @functools.cached_property
    def engine(self) -> GradientEngine:
        """The gradient engine, compared with plain passes on this model and these facts.

        Returns
        -------
        GradientEngine
            The quickest way that gives the same numbers.
        """
        loaded = self.loaded
        every = [query for queries in self.asking.asked for query in queries]
        longest = max(every, key=lambda query: len(query.targets[-1].ids))
        hardest = [longest.targets[-1], *self._longest_again(longest)]
        engine = GradientEngine(
            model=loaded.model, sites=loaded.sites, family=loaded.family, memory=self.plan.memory
        )
        with threads(self.plan.threads), _memory_for(f"trying {self.source.name} on one query"):
            engine = proved(engine, [*self.asking.some_targets(), *hardest])
            return engine if self.plan.site == "mlp_post" else before_activation(engine, hardest[0])

    @functools.cached_property
    def relations(self) -> RelationBaselines:
        """Mean activations of relations, which paths of ``ig_mean`` start at.

        Returns
        -------
        RelationBaselines
            Computes a relation's when first asked for it.
        """
        return RelationBaselines(
            engine=self.engine,
            encoder=self.source.encoder(),
            facts=self.facts.facts,
            asked=self.asking.asked,
            answer_tokens=self.plan.answer_tokens,
            target=self.plan.target,
        )

    def _longest_again(self, longest: TokenizedQuery) -> list[Target]:
        """The longest query as phase ``interventions`` asks it again, which the engine is compared on too."""
        part = self.plan.interventions
        if "interventions" not in self.plan.phases or not part.reprompts:
            return []
        (again,) = asked_again([longest], part.reprompt, self.source.encoder())
        return [] if again is None else [again.targets[-1]]

    @functools.cached_property
    def attention_refused(self) -> str:
        """Why attention cannot be recorded on this model.

        Returns
        -------
        str
            The reason; empty where attention can be recorded.
        """
        loaded, target = self.loaded, self.asking.some_targets()[0]
        with _memory_for(f"trying the attention of {self.source.name} on one query"):
            return why_not_recorded(loaded.model, target, loaded.sites.n_layers)

    @functools.cached_property
    def norm_behind_mlp(self) -> bool:
        """Whether a norm follows the MLP's output, so that paths from zero are ill-defined.

        Returns
        -------
        bool
            As :func:`qloc.extract.models.norm_behind.norm_behind_mlp` finds on one query.
        """
        loaded, target = self.loaded, self.asking.some_targets()[0]
        with _memory_for(f"trying the MLP of {self.source.name} on one query"):
            return norm_behind_mlp(loaded.model, loaded.sites, target)

    @functools.cached_property
    def outline(self) -> Outline:
        """What is known before the model has run over the facts. Loads the weights.

        Returns
        -------
        Outline
            Columns of facts, candidate answers, axis lengths, units and attributes.
        """
        asked, sites, config = self.asking.asked, self.loaded.sites, self.source.config.get_text_config()
        counts = np.array([len(queries) for queries in asked], dtype=np.int64)
        queries = [query for of_fact in asked for query in of_fact]
        kept = {name: answers[:MOST_CANDIDATES] for name, answers in candidates(self.facts.facts).items()}
        return Outline(
            facts=self.asking.fact_columns(self.facts),
            candidates=kept,
            methods=self.plan.methods,
            sizes={
                "fact": len(self.facts),
                "query": len(queries),
                "layer": sites.n_layers,
                "neuron": sites.n_neurons,
                "head": 0 if self.attention_refused else int(config.num_attention_heads),
                "token": max(len(query.targets[-1].ids) for query in queries),
                "answer_token": max(len(query.targets) for query in queries),
                "top": min(N_TOP, int(config.vocab_size)),
                "candidate": max(map(len, kept.values())),
                "query_of_fact": int(counts.max()),
            },
            units=units_of(counts, self.plan.unit_facts),
            attrs=self._described(),
            vocabulary=vocabulary_of(self.loaded.sites),
        )

    @property
    def environment(self) -> dict[str, str]:
        """Library versions and device, for the manifest. No array depends on them."""
        import tokenizers
        import transformers

        read_by = {} if self.source.gguf is None else {"gguf": importlib.metadata.version("gguf")}
        return {
            "torch": str(torch.__version__),
            "transformers": transformers.__version__,
            "tokenizers": tokenizers.__version__,
            **read_by,
            "device": described(self.loaded.model),
            "threads": str(self.plan.threads),
        }

    def extract(self, unit: Unit) -> Block:
        """Run the model over one unit.

        Parameters
        ----------
        unit : Unit
            The facts to run.

        Returns
        -------
        Block
            Every array of the unit.

        Raises
        ------
        ModelError
            A number is not finite, or memory does not suffice for one query at one layer; the message names
            the query.
        """
        of_facts = self.asking.asked[unit.first_fact : unit.last_fact]
        run = UnitRun(
            unit=unit,
            facts=self.facts.facts[unit.first_fact : unit.last_fact],
            queries=[query for queries in of_facts for query in queries],
            index=[fact for fact, queries in enumerate(of_facts) for _ in queries],
            outline=self.outline,
            engine=self.engine,
            loaded=self.loaded,
            encoder=self.source.encoder(),
            plan=self.plan,
            relations=self.relations,
        )
        block, notes = self.run(run.block, lambda item: _named(item, run.queries))
        return replace(block, notes=notes)

    def run(self, work: Callable[[], T], named: Callable[[Any], str]) -> tuple[T, dict[str, Any]]:
        """Do the work of a unit with the plan's number of threads, and note where batches had to shrink.

        Parameters
        ----------
        work : callable
            Takes no arguments.
        named : callable
            Takes an item that does not fit into memory by itself, and names it for the message.

        Returns
        -------
        result : Any
            What ``work`` returns.
        notes : dict
            ``shrunk``, by how much, where batches had to shrink; else empty.

        Raises
        ------
        ModelError
            Memory does not suffice for a single item, which the message names, or for what is done besides.
        """
        besides = _memory_for(f"trying {self.source.name}, or between its batches")
        with threads(self.plan.threads), besides, noting_what_shrinks() as shrunk:
            try:
                result = work()
            except DoesNotFit as error:
                raise too_large(named(error.item), error) from None
        return result, {"shrunk": dict(shrunk)} if shrunk else {}

    def _described(self) -> dict[str, Any]:
        config, facts = self.source.config, self.facts
        dtype = str(next(iter(self.loaded.model.parameters())).dtype).removeprefix("torch.")
        file = self.source.gguf
        return {
            "model": self.source.name,
            "model_type": config.model_type,
            "family": self.source.family,
            "revision": self.plan.revision or "",
            "dtype": dtype,
            **({} if file is None else {"quantization": file.provenance(dtype)}),
            "facts": self.plan.facts,
            "site": self.plan.site,
            "engine": self.engine.kind,
            "attention": self.attention_refused or "recorded",
            "norm_behind_mlp": self.norm_behind_mlp,
            "excluded": dict(self.asking.excluded),
            **({"own_code": own} if (own := self.source.own_code) else {}),
            **({"spaces_apart": apart} if (apart := self.asking.n_spaces_apart) else {}),
            "skipped": dict(facts.skipped),
            "merged": facts.merged,
            **self._groups_of_pairs(),
            **{
                name: value
                for name, value in self.plan.signal_parameters().items()
                if name not in ("dtype", "memory", "threads")
            },
        }

    def _groups_of_pairs(self) -> dict[str, Any]:
        if not any(fact.is_group for fact in self.facts.facts):
            return {}
        return {"pairs": self.plan.pair_groups(), "pair_queries": self.plan.pair_queries}


@contextmanager
def _memory_for(what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if out_of_memory(error):
            raise too_large(what, error) from None
        raise


def _named(item: Any, queries: Sequence[TokenizedQuery]) -> str:
    """Name the query of a numbered target."""
    _, target = item
    own = next((query.prompt for query in queries if target in query.targets), "another right answer's")
    return f"query {own!r}"
