"""What the phases after ``signals`` do: the arms of interventions and edits, and their constants.

Sources of the defaults: docs/methods.md#neuron-sets, docs/methods.md#interventions and docs/methods.md#edits.
Plain data, so that a command line starts light.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import Field, StringConstraints, field_validator

from qloc.errors import InputError, message
from qloc.text.checked_models import CheckedModel

Operation = Literal["suppress", "enhance", "mean", "resample"]
NeuronSet = Literal[
    "own",
    "neighbor",
    "own_minus_neighbor",
    "neighbor_minus_own",
    "intersection",
    "union",
    "refined",
    "top",
    "other_fact",
    "reprompt",
    "own_minus_reprompt",
    "reprompt_minus_own",
    "matched",
]
SynapseOperation = Literal["suppress", "enhance", "suppress_renormalized", "enhance_renormalized"]
SynapseSet = Literal["published", "knowledge", "random_columns", "other_heads", "other_fact"]
EditOperation = Literal["erase", "update", "update_signed"]
EditSet = Literal[
    "own",
    "union",
    "refined",
    "cas",
    "cas_no_penalty",
    "own_top",
    "union_top",
    "cas_top",
    "matched",
    "other_fact",
    "in_context",
    "rome",
    "rome_identity",
    "rome_as_coded",
    "rome_traced",
]

TracingPart = Literal["residual", "mlp", "attention"]
TokenRole = Literal[
    "first_subject", "middle_subject", "last_subject", "next_token", "further_tokens", "last_token"
]
Matching = Literal["total", "decile"]
"""How the control ``matched`` is as strong as ``own``: in total, or decile by decile as in older stores."""

OPERATIONS: Final[tuple[Operation, ...]] = get_args(Operation)
NEURON_SETS: Final[tuple[NeuronSet, ...]] = get_args(NeuronSet)
REPROMPT_SETS: Final[tuple[NeuronSet, ...]] = ("reprompt", "own_minus_reprompt", "reprompt_minus_own")
"""N_i′, the set of query i asked again in another form, and how it differs from N_i."""

SYNAPSE_OPERATIONS: Final[tuple[SynapseOperation, ...]] = get_args(SynapseOperation)
SYNAPSE_SETS: Final[tuple[SynapseSet, ...]] = get_args(SynapseSet)
EDIT_OPERATIONS: Final[tuple[EditOperation, ...]] = get_args(EditOperation)
ROME_TRACED: Final = "rome_traced"
ROME_SETS: Final[tuple[EditSet, ...]] = ("rome", "rome_identity", "rome_as_coded", ROME_TRACED)
"""ROME as published, with C = I, as the authors' program makes it, and at the layer that tracing names."""

EDIT_SETS: Final[tuple[EditSet, ...]] = get_args(EditSet)[:-2]
"""Sets that are edited where a plan names none; the last two of ROME's have to be named."""

MATCHED: Final = "matched"
"""Control set, drawn at extraction: as many neurons of the same layers and strength as ``own``."""


def control_of(name: str) -> str:
    """Return the label of the control that is matched to a set, N_i or one of the user's own.

    Parameters
    ----------
    name : str
        Of the set.

    Returns
    -------
    str
        Label along ``neuron_set``.

    Examples
    --------
    >>> control_of("mine"), control_of("own")
    ('mine_matched', 'matched')
    """
    return MATCHED if name == "own" else f"{name}_{MATCHED}"


IN_CONTEXT: Final = "in_context"
"""Positive control of edits: the new answer is stated before the prompt, and no weight changes."""

NEW_INVERSE, OLD_INVERSE = "new_inverse", "old_inverse"
SYNONYM, SYNONYM_OF_STEM, NEIGHBORHOOD = "synonym", "synonym_of_stem", "neighborhood"
"""Kinds of prompts of what an edit entails (docs/methods.md#what-edits-entail)."""

GENERATED_LABELS: Final = ("inverse", "synonym", "text")
"""What is continued greedily under each edit: the first prompt of the new inverse, of a synonym, a text."""

TRACING_PARTS: Final[tuple[TracingPart, ...]] = get_args(TracingPart)
TOKEN_ROLES: Final[tuple[TokenRole, ...]] = get_args(TokenRole)
OTHER_SUBJECT: Final = "other_subject"
"""Corruption of causal tracing: another subject of the relation, of as many tokens."""

NOISE: Final = "noise_"
"""What the labels of corruptions by noise begin with; the sample's number follows, from 1."""

UPDATED_ONLY: Final[tuple[EditSet, ...]] = (IN_CONTEXT, *ROME_SETS)
"""Edits of no set of neurons: they give a fact another answer (``update``), and that is all they can."""


def _each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise ValueError(f"{', '.join(names)} names one twice; expected each once")
    return names


class _SetPlan(CheckedModel):
    """How the sets of a phase are chosen from what ``signals`` stored."""

    method: str | None = None
    """Attribution method; the plan's first where None."""

    threshold: float = Field(0.2, gt=0, lt=1)
    """t of N_i: attribution > t · max over the whole network."""

    top: int = Field(20, ge=1)
    """b of the sets of equal budget."""

    refined: float = Field(0.7, gt=0, le=1)
    """p that refining starts from."""

    matching: Matching = "total"
    """How the control ``matched`` is matched in strength."""

    @property
    def tells_strength(self) -> bool:
        """Whether the phase keeps how strong sets are; older stores, matched by deciles, do not."""
        return self.matching == "total"

    def parameters(self) -> dict[str, Any]:
        """Return the parameters for the fingerprint.

        Older stores, which are matched by deciles, do not name the matching.

        Returns
        -------
        dict of str to Any
            Part of the phase's fingerprint; JSON only.
        """
        unused = ("matching",) if self.matching == "decile" else ()
        return {name: value for name, value in self.model_dump(mode="json").items() if name not in unused}

    _once = field_validator("operations", "sets", "synapse_operations", "synapse_sets", check_fields=False)(
        _each_once
    )


class InterventionPlan(_SetPlan):
    """Phase ``interventions``: activations and attention changed at the target.

    See docs/methods.md#interventions.
    """

    operations: tuple[Operation, ...] = Field(OPERATIONS, min_length=1)
    sets: tuple[NeuronSet, ...] = Field(NEURON_SETS, min_length=1)
    synapse_operations: tuple[SynapseOperation, ...] = Field(SYNAPSE_OPERATIONS, min_length=1)
    synapse_sets: tuple[SynapseSet, ...] = Field(SYNAPSE_SETS, min_length=1)
    alpha: float = Field(2.0, gt=0)
    """α of knowledge synapses."""

    reprompt: str = Field("- ", min_length=1)
    """What is put before a prompt to ask it again near-identically: signs and white space, no word."""

    reprompted: int = Field(2, ge=1)
    """Known queries of a fact that are asked again at most, seeded."""
    viewed_neurons: int = Field(48, ge=1)
    viewed_facts: int = Field(0, ge=0)
    """Facts whose neurons are kept one by one, synapses suppressed; 0: none, as in older stores."""

    own_controls: bool = True
    """Whether each set of the user's own gets a matched control, where ``matched`` is among the sets."""

    @property
    def reprompts(self) -> bool:
        """Whether queries are asked again: for the sets that come of it, and for nothing else."""
        return not set(REPROMPT_SETS).isdisjoint(self.sets)

    @field_validator("reprompt")
    @classmethod
    def _no_word(cls, prefix: str) -> str:
        if any(sign.isalnum() for sign in prefix):
            raise ValueError(f"signs and white space, no word; {prefix!r} has letters or digits")
        return prefix

    def parameters(self) -> dict[str, Any]:
        """Return the parameters for the fingerprint.

        Fields of re-prompts and views are left out where there are none: older stores keep their fingerprint.
        Controls of users' own sets are named beside the sets' digest.

        Returns
        -------
        dict of str to Any
            Part of the phase's fingerprint; JSON only.
        """
        unused = {"own_controls"} | (set() if self.reprompts else {"reprompt", "reprompted"})
        unused |= set() if self.viewed_facts else {"viewed_facts", "viewed_neurons"}
        return {name: value for name, value in super().parameters().items() if name not in unused}


Word = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
"""A probe word: text that takes the answer's place in a prompt."""


class ProbePlan(CheckedModel):
    """Words whose log P is kept after each arm and each edit (docs/methods.md#suppression-on-words).

    The bad continuations of minimal pairs are kept beside them.
    """

    words: tuple[Word, ...] = ()
    """Asked of every relation; none: the relation's candidate answers."""

    of_relations: dict[str, tuple[Word, ...]] = Field({})
    """Relation → words, in place of these."""

    synapses: bool = True
    """Whether words are also kept after changes of attention. False: as in older stores."""
    most: int = Field(16, ge=0)
    """Candidate answers of a relation at most: the most frequent ones. 0: no words where none are named."""

    def __hash__(self) -> int:  # workers are told apart by their plans, and a dict has no hash
        return hash((self.words, tuple(self.of_relations.items()), self.most))

    _once = field_validator("words")(_each_once)

    @field_validator("of_relations")
    @classmethod
    def _once_of_each(cls, words: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        return {relation: _each_once(of_relation) for relation, of_relation in words.items()}

    def require_relations(self, relations: Collection[str]) -> None:
        """Refuse words of relations that a study does not have.

        Parameters
        ----------
        relations : collection of str
            The relations of the facts.

        Raises
        ------
        InputError
            ``of_relations`` names others.
        """
        if unknown := [name for name in self.of_relations if name not in relations]:
            rule = f"relations of the facts: {', '.join(relations)}"
            action = "Remove or correct them"
            raise InputError(message("relations of probes", unknown, rule, "the plan", action))

    def words_of(self, candidates: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        """Return the probe words of each relation.

        Parameters
        ----------
        candidates : mapping of str to tuple of str
            Relation → its answers, the most frequent first.

        Returns
        -------
        dict of str to tuple of str
            Relation → words.

        Raises
        ------
        InputError
            ``of_relations`` names relations that the facts do not have.

        Examples
        --------
        >>> ProbePlan(most=1).words_of({"P36": ("Paris", "Rome")})
        {'P36': ('Paris',)}
        """
        self.require_relations(tuple(candidates))
        return {
            relation: self.of_relations.get(relation, self.words or answers[: self.most])
            for relation, answers in candidates.items()
        }

    def parameters(self) -> dict[str, Any]:
        """Return the parameters for the fingerprint; ``synapses`` is named beside them.

        Returns
        -------
        dict of str to Any
            Part of the phase's fingerprint; JSON only.
        """
        return self.model_dump(mode="json", exclude={"synapses"})


class RomePlan(CheckedModel):
    """ROME's constants (Meng et al. 2022, arXiv 2202.05262).

    Where nothing else is said, from ``hparams/ROME/gpt2-xl.json`` of the authors' repository kmeng01/rome,
    read there; that they suit another model is unverified.
    """

    layer: float = Field(0.35, ge=0, le=1)
    """l*, as a share of the layers: layer 17 of 48."""

    prefixes: int = Field(4, ge=0)
    """Texts, written by the model itself, that are put before the prompt. Ours: the authors take 20."""

    prefix_tokens: int = Field(5, ge=1)
    """Tokens of each; the authors take 5 in one half, 10 in the other (as zjunlp/EasyEdit has them)."""

    steps: int = Field(20, ge=1)
    rate: float = Field(0.5, gt=0)
    """Of Adam."""

    weight_decay: float = Field(0.5, ge=0)
    clamp: float = Field(4.0, gt=0)
    """Most of ‖δ‖ / ‖v0‖."""

    kl: float = Field(0.0625, ge=0)
    enough: float = Field(0.05, ge=0)
    """The search stops where the loss is no greater (app. E.5)."""

    sample_tokens: int = Field(1024, ge=2)
    """Tokens of text that C is taken over. Ours, what is at hand: the authors take 100,000 articles."""

    ridge: float = Field(0.1, gt=0)
    """λ, added to the diagonal of C, as a share of its mean. Ours, unverified: a small sample needs one."""

    best_by: Literal["likelihood", "loss"] = "likelihood"
    """What the best value is told by: −log P + KL, or, as in older stores, the whole loss with its decay."""

    def parameters(self) -> dict[str, Any]:
        """Return the constants for fingerprint and attributes; older stores do not name ``best_by``.

        Returns
        -------
        dict of str to Any
            JSON only.
        """
        unused = {"best_by"} if self.best_by == "loss" else set[str]()
        return self.model_dump(mode="json", exclude=unused)


class EditPlan(_SetPlan):
    """Phase ``edits``: rows of down-projections erased or updated (docs/methods.md#edits)."""

    operations: tuple[EditOperation, ...] = Field(EDIT_OPERATIONS, min_length=1)
    sets: tuple[EditSet, ...] = Field(EDIT_SETS, min_length=1)
    lambda1: float = Field(1.0, ge=0)
    lambda2: float = Field(8.0, ge=0)
    scale: Literal["slot_norm", "none"] = "slot_norm"
    embedding: Literal["auto", "input", "output"] = "auto"
    """E: the input token embedding, or the output's row; auto: the output's where they are untied."""

    beta1: float = Field(0.7, ge=0)
    beta2: float = Field(0.3, ge=0)
    cas_threshold: float = Field(0.3, gt=0, lt=1)
    n_probes: int = Field(8, ge=0)
    text_tokens: int = Field(128, ge=0)
    """Tokens of held-out text that Δ nats are taken over."""

    text: Literal["lines", "joined"] = "lines"
    """How held-out text is read and told. Lines: of models trained on single lines, line by line, and Δ nats
    also by halves of the text. Joined: lines joined into windows, and no halves, as in older stores."""

    greedy_tokens: int = Field(20, ge=0)
    rome: RomePlan = RomePlan()

    entailments: bool = True
    """Whether o′ (``target_new``) and entailed prompts that facts give are used. False: as older stores."""

    pairs: bool = True
    """Whether minimal pairs are edited, o′ their bad form. False goes on with an older store."""

    max_facts: int | None = Field(None, ge=1)
    """Facts of a relation that are edited, seeded, those with known queries first; all where None."""

    @property
    def tells_strength(self) -> bool:
        """Whether the phase keeps how strong sets are: where they have a control that is as strong."""
        return self.matching == "total" and MATCHED in self.sets

    @property
    def tells_loss(self) -> bool:
        """Whether the phase keeps the losses of ROME's values; older stores do not."""
        coded = "rome_as_coded" in self.sets
        return coded or (self.rome.best_by == "likelihood" and not set(ROME_SETS).isdisjoint(self.sets))

    @property
    def tells_halves(self) -> bool:
        """Whether the phase keeps the damage by halves of the text; older stores do not."""
        return self.text == "lines" and self.text_tokens > 0

    def parameters(self) -> dict[str, Any]:
        """Return the parameters for the fingerprint.

        What no edit uses is left out, so that older stores keep their fingerprint: ROME's constants, how
        controls are matched, and joined text. What facts entail, and pairs, are named where there are any.

        Returns
        -------
        dict of str to Any
            Part of the phase's fingerprint; JSON only.
        """
        unused = {"rome"} if set(ROME_SETS).isdisjoint(self.sets) else set[str]()
        unused |= {"entailments", "pairs"} | ({"matching"} if MATCHED not in self.sets else set())
        unused |= set() if self.tells_halves else {"text"}
        values = {**super().parameters(), "rome": self.rome.parameters()}
        return {name: value for name, value in values.items() if name not in unused}


class TracingPlan(CheckedModel):
    """Phase ``tracing``: subjects corrupted, and states of the clean pass restored (docs/methods.md#tracing).

    Noise, samples and the windows of MLPs and attention are those of Meng et al. 2022, §2 and app. B.
    """

    noise: float = Field(3.0, gt=0)
    """Standard deviation of the noise, in those of the subjects' embeddings."""

    samples: int = Field(10, ge=1)
    """How often each query is corrupted by noise."""

    parts: tuple[TracingPart, ...] = Field(TRACING_PARTS, min_length=1)
    roles: tuple[TokenRole, ...] = Field(TOKEN_ROLES, min_length=1)
    window: float = Field(10 / 48, ge=0, le=1)
    """Layers of MLPs and of attention that are restored together, as a share of all: 10 of 48."""

    residual_window: float = Field(0.0, ge=0, le=1)
    """The same of the residual stream; one layer at the least, as published."""

    queries: int = Field(2, ge=1)
    """Known queries of a fact that are traced at most, seeded."""

    max_facts: int | None = Field(None, ge=1)
    """Facts of a relation that are traced at most, seeded; all where None."""

    pairs: bool = True
    """Whether minimal pairs are traced, their cue as subject. False goes on with an older store."""

    _once = field_validator("parts", "roles")(_each_once)

    @property
    def corruptions(self) -> tuple[str, ...]:
        """Labels of the axis ``corruption``: the samples of noise, then the other subject."""
        return (*(f"{NOISE}{number}" for number in range(1, self.samples + 1)), OTHER_SUBJECT)

    def windows(self, n_layers: int) -> dict[TracingPart, tuple[range, ...]]:
        """Return the layers that are restored together around each layer, of each part.

        A window of w layers around layer l begins at l − ⌊w/2⌋, and ends with the network.

        Parameters
        ----------
        n_layers : int
            Layers of the model.

        Returns
        -------
        dict of str to tuple of range
            One window for each layer.

        Examples
        --------
        >>> TracingPlan(parts=("mlp",), window=0.5).windows(4)
        {'mlp': (range(0, 1), range(0, 2), range(1, 3), range(2, 4))}
        """
        found: dict[TracingPart, tuple[range, ...]] = {}
        for part in self.parts:
            width = max(1, round(n_layers * (self.residual_window if part == "residual" else self.window)))
            starts = [layer - width // 2 for layer in range(n_layers)]
            found[part] = tuple(range(max(0, start), min(n_layers, start + width)) for start in starts)
        return found

    def parameters(self) -> dict[str, Any]:
        """Return the parameters for the fingerprint, but ``pairs``, which is named where there are some.

        Returns
        -------
        dict of str to Any
            Part of the phase's fingerprint; JSON only.
        """
        return self.model_dump(mode="json", exclude={"pairs"})
