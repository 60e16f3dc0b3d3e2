"""Prove on each loaded model what its attention writes, and that restored rows equal plain passes.

No path and no shortcut is looked up by architecture. A projection is attention's if restoring it restores its
block: a block's output at a position must be the clean pass's where the block's input there and the
projection's output there are. Of the ways to run rows, the quickest that equals plain passes is taken.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from qloc.errors import InputError, message
from qloc.extract.models.hooks import without_head
from qloc.extract.models.out_of_memory import raise_if_out_of_memory
from qloc.extract.models.unsupported import MODEL_FAILURES
from qloc.extract.passes.block_arguments import BlockCall, carried
from qloc.extract.passes.prompt_cache import whole
from qloc.extract.passes.row_engine import RowEngine
from qloc.extract.prompts.tokenizing import Target
from qloc.extract.tracing.plain_passes import restored_once
from qloc.extract.tracing.restored_rows import RestoredRows, Shortcuts, TracingEngine, Windows
from qloc.extract.tracing.states import Prompts, States, TracedSites, clean_states, watched

log = logging.getLogger(__name__)

ATTENTION_PATHS: Final = (
    "self_attn.o_proj",
    "self_attn.out_proj",
    "self_attn.dense",
    "attn.c_proj",
    "attn.out_proj",
    "attn.attention.out_proj",
    "attn.Wo",
    "attention.output.dense",
    "attention.attn.o",
    "attention.out_lin",
    "attention.dense",
    "self_attention.dense",
)
"""Where blocks keep the projection behind their attention, from a block: tried in this order."""

_ALLOWED: Final = {torch.float64: 1e-4, torch.float32: 1e-3}
"""Largest difference, relative to what corrupting the prompt does; 0.1 in half precision. float64: some
families compute norms or attention in float32 even then."""


def proved(engine: RowEngine, targets: Sequence[Target], windows: Windows, seed: int = 0) -> TracingEngine:
    """Return the quickest engine that equals plain passes on this model.

    Parameters
    ----------
    engine : RowEngine
        The model.
    targets : sequence of Target
        Targets that it will run; the shortest and the longest are tried.
    windows : Windows
        Parts and layers that are restored.
    seed : int, default 0
        Of the noise that the proof corrupts with.

    Returns
    -------
    TracingEngine
        Ready to run.

    Raises
    ------
    InputError
        The model's parts cannot be traced; the message names the model's type and why.
    """
    ends = [pick(targets, key=lambda target: len(target.ids)) for pick in (min, max)]
    trials = [_Trial.of(engine, target, seed + number) for number, target in enumerate(ends)]
    try:
        traced = next(_sites(engine, trials), None)
        entries = carried(engine.model, engine.sites, "masked", ends)
    except MODEL_FAILURES as error:
        raise_if_out_of_memory(error)
        raise refused(engine.model, f"its blocks cannot be looked into ({error})") from None
    if traced is None:
        raise refused(engine.model, "no projection behind its attention is known that restores its blocks")
    causal = engine.family == "causal"
    for behind, cut in product((True, False) if causal else (False,), (True, False)):
        shortcuts = Shortcuts(behind=behind, cut=cut)
        trial = TracingEngine(engine=engine, traced=traced, carried=entries, shortcuts=shortcuts)
        if all(_holds(trial, one, windows) for one in trials):
            return trial
    raise refused(engine.model, "rows that join late do not give what plain passes give")


def refused(model: Any, why: str) -> InputError:
    """Return the error for a model whose parts cannot be traced.

    Parameters
    ----------
    model : transformers model
        The model.
    why : str
        The reason.

    Returns
    -------
    InputError
        Names the model's type.
    """
    rule = f"one whose parts can be restored: {why}"
    return InputError(
        message("model type", model.config.model_type, rule, "phase tracing", "Leave tracing out of --phases")
    )


class _Trial:
    """One target, and the same with noise at every token but the target's: so far as windows reach."""

    def __init__(self, target: Target, clean: Prompts, corrupted: Prompts) -> None:
        self.target, self.clean, self.corrupted = target, clean, corrupted
        self.positions = np.unique([min(1, len(target.ids) - 1), len(target.ids) // 2, target.position])

    @classmethod
    def of(cls, engine: RowEngine, target: Target, seed: int) -> _Trial:
        embedding = engine.model.get_input_embeddings()
        device = next(iter(engine.model.parameters())).device
        ids = torch.tensor([target.ids], device=device)
        with torch.no_grad():
            vectors = embedding(ids)
        drawn = np.random.default_rng([seed, len(target.ids)]).normal(size=(2, *vectors.shape[1:]))
        noise = 3 * float(vectors.double().std()) * torch.from_numpy(drawn)
        if len(target.ids) > 1:
            noise[:, target.position] = 0
        corrupted = Prompts(ids=ids.expand(2, -1), noise=noise.to(vectors))
        return cls(target, Prompts(ids=ids), corrupted)


def _sites(engine: RowEngine, trials: Sequence[_Trial]) -> Iterator[TracedSites]:
    """Yield the modules of each path that is attention's projection in every block."""
    embedding = engine.model.get_input_embeddings()
    for path in ATTENTION_PATHS:
        try:
            modules = tuple(block.get_submodule(path) for block in engine.sites.blocks)
        except AttributeError:
            continue
        traced = TracedSites(sites=engine.sites, attention=modules, embedding=embedding)
        if all(_restores_blocks(engine.model, traced, trial) for trial in trials):
            yield traced


def _restores_blocks(model: Any, traced: TracedSites, trial: _Trial) -> bool:
    """Whether a block's output at the target is the clean pass's where its input and attention there are."""
    at = trial.target.position
    clean = clean_states(model, traced, trial.clean, np.array([at]), at)
    differences: list[tuple[float, float]] = []

    def enter(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        call = BlockCall(args, kwargs)
        hidden = call.hidden.clone()
        hidden[1, at] = clean.entering[layers.now, 0].to(hidden)
        call = call.changed(hidden, lambda _, value: value)
        return call.args, call.kwargs

    def attention(_: nn.Module, layer: int, output: Tensor) -> Tensor:
        changed = output.clone()
        changed.view(2, -1, output.shape[-1])[1, at] = clean.of_part["attention"][layer, 0].to(output)
        return changed

    def leave(_: nn.Module, layer: int, output: Tensor) -> Tensor:
        expected = clean.of_part["residual"][layer, 0].to(output)
        off = [float((output[row, at] - expected).double().abs().max()) for row in (1, 0)]
        differences.append((off[0], off[1]))
        return output[:1].expand(2, -1, -1)

    same = trial.corrupted.chosen(np.array([0, 0]))
    with (
        same.noised(traced.embedding),
        watched(traced, enter=enter, attention=attention, residual=leave) as layers,
        without_head(traced.sites.head),
        torch.no_grad(),
    ):
        model(**whole(model, same.ids))
    allowed = _ALLOWED.get(next(iter(model.parameters())).dtype, 0.1)
    largest = max(corrupted for _, corrupted in differences)
    return all(restored <= allowed * max(largest, 1e-30) for restored, _ in differences)


def _holds(trial: TracingEngine, one: _Trial, windows: Windows) -> bool:
    """Whether rows equal plain passes, relative to what corrupting does to the final hidden state."""
    model, traced = trial.engine.model, trial.traced
    at, positions = one.target.position, one.positions
    clean = clean_states(model, traced, one.clean, positions, at)
    try:
        base = trial.begin(one.corrupted, clean, positions, at)
        plan = RestoredRows.of(windows, len(positions), len(one.corrupted))
        rows = base.final[torch.as_tensor(plan.prompt, device=base.final.device)].clone()
        for which, hidden in trial.passes(plan, one.corrupted, clean, base, positions, at):
            rows[torch.as_tensor(which, device=rows.device)] = hidden.to(rows)
    except MODEL_FAILURES as error:
        raise_if_out_of_memory(error)
        log.info("restored rows (%s) do not run: %s", trial.shortcuts, error)
        return False
    plain = _plainly(trial, one, windows, clean)
    effect = float((base.final - clean.final).double().abs().max())
    worst = float((rows - plain).double().abs().max()) / max(effect, 1e-30)
    log.info("restored rows (%s) differ by %.1e of the corruption's effect", trial.shortcuts, worst)
    return worst <= _ALLOWED.get(rows.dtype, 0.1)


def _plainly(trial: TracingEngine, one: _Trial, windows: Windows, clean: States) -> Tensor:
    hidden = [
        restored_once(
            trial.engine.model,
            trial.traced,
            one.corrupted,
            clean,
            part,
            window,
            (position, number),
            one.target.position,
        )
        for part, of_layers in windows.items()
        for number, position in enumerate(one.positions.tolist())
        for window in of_layers
    ]
    return torch.cat(hidden)
