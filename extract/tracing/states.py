"""States of a pass that causal tracing restores: of the residual stream, the MLPs and the attention.

See docs/methods.md#tracing. A **restoration** sets one part's output at one position, in a window of layers,
to what it is in the clean pass. What a part's output is:

- ``residual``: the output of a block;
- ``mlp``: the output of its down-projection;
- ``attention``: the output of the projection behind its attention.

What follows either projection in its block (a norm behind it, or a sum) treats every position by itself, so
restoring the projection restores that too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from qloc.arrays import Ints
from qloc.extract.models.architectures import Sites
from qloc.extract.models.hooks import hooked, without_head
from qloc.extract.passes.prompt_cache import whole
from qloc.phase_plan import TracingPart

PROJECTIONS: Final[tuple[TracingPart, ...]] = ("mlp", "attention")
"""Parts that write to the residual stream."""


@dataclass(frozen=True, kw_only=True)
class TracedSites:
    """The modules whose outputs are restored.

    Attributes
    ----------
    sites : Sites
        Blocks, down-projections and output embedding.
    attention : tuple of torch.nn.Module
        The projection behind each block's attention.
    embedding : torch.nn.Module
        The input embedding, whose output noise is added to.
    """

    sites: Sites
    attention: tuple[nn.Module, ...]
    embedding: nn.Module

    def projections(self) -> Mapping[TracingPart, tuple[nn.Module, ...]]:
        """Return the modules of each part that writes to the residual stream.

        Returns
        -------
        dict of str to tuple of torch.nn.Module
            Part → its modules, in the order of layers.
        """
        return {"mlp": self.sites.downs, "attention": self.attention}


@dataclass(frozen=True, kw_only=True)
class Prompts:
    """Prompts of one length, of one target, that differ in their subject.

    Attributes
    ----------
    ids : int64 Tensor, shape (prompt, token)
        What the model reads.
    noise : Tensor, shape (prompt, token, embedding), or None
        What is added to the embeddings.
    """

    ids: Tensor
    noise: Tensor | None = None

    def __len__(self) -> int:
        """Return the number of prompts."""
        return len(self.ids)

    def chosen(self, rows: Ints) -> Prompts:
        """Return some of the prompts.

        Parameters
        ----------
        rows : int64 ndarray, shape (chosen,)
            Their numbers.

        Returns
        -------
        Prompts
            These, in the order given.
        """
        which = torch.as_tensor(rows, device=self.ids.device)
        return Prompts(ids=self.ids[which], noise=None if self.noise is None else self.noise[which])

    def noised(self, embedding: nn.Module, stop: int | None = None) -> Any:
        """Return a context in which the noise is added to the embeddings of the tokens before ``stop``.

        Parameters
        ----------
        embedding : torch.nn.Module
            The input embedding.
        stop : int, optional
            First position that does not run; all run where None.

        Returns
        -------
        context manager
            The hook is removed when it ends.
        """
        noise = None if self.noise is None else self.noise[:, :stop]

        def add(_: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
            return output if noise is None else output + noise.to(output)

        return hooked(forward={embedding: add})


@dataclass(frozen=True, kw_only=True)
class States:
    """States of one pass over one prompt, at some positions.

    Attributes
    ----------
    entering : Tensor, shape (layer, position, hidden)
        Inputs of the blocks.
    of_part : dict of str to Tensor
        Outputs of each part, (layer, position, width).
    final : Tensor, shape (hidden,)
        Final hidden state at the target.
    """

    entering: Tensor
    of_part: Mapping[TracingPart, Tensor]
    final: Tensor


class Layers:
    """Counts blocks while they run, so that layers may share a module.

    Attributes
    ----------
    now : int
        The block that runs; -1 before the first.
    """

    def __init__(self) -> None:
        self.now = -1


Hook = Callable[[nn.Module, int, Tensor], Tensor | None]
"""(module, layer, output) → the output that takes its place, or None."""


@contextmanager
def watched(
    traced: TracedSites,
    *,
    enter: Callable[..., Any] | None = None,
    residual: Hook | None = None,
    mlp: Hook | None = None,
    attention: Hook | None = None,
) -> Iterator[Layers]:
    """Call hooks behind blocks and their projections, telling the layer.

    Parameters
    ----------
    traced : TracedSites
        The modules.
    enter : callable, optional
        (block, args, kwargs) → (args, kwargs), called before a block when its layer is counted.
    residual, mlp, attention : Hook, optional
        What is called behind blocks, down-projections and attention's projections.

    Yields
    ------
    Layers
        The layer that runs.
    """
    layers = Layers()

    def before(block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        layers.now += 1
        return None if enter is None else enter(block, args, kwargs)

    def behind(hook: Hook) -> Callable[..., Any]:
        def call(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
            first = output[0] if isinstance(output, tuple) else output
            changed = hook(module, layers.now, first)
            if changed is None:
                return None
            return (changed, *output[1:]) if isinstance(output, tuple) else changed

        return call

    hooks: dict[nn.Module, Callable[..., Any]] = {}
    for modules, hook in (
        (traced.sites.blocks, residual),
        (traced.sites.downs, mlp),
        (traced.attention, attention),
    ):
        if hook is not None:
            hooks |= dict.fromkeys(modules, behind(hook))
    with hooked(forward_pre_kwargs=dict.fromkeys(traced.sites.blocks, before), forward=hooks):
        yield layers


@torch.no_grad()
def clean_states(model: Any, traced: TracedSites, prompt: Prompts, positions: Ints, target: int) -> States:
    """Run one prompt and keep what is restored later.

    Parameters
    ----------
    model : transformers model
        The loaded model.
    traced : TracedSites
        Its modules.
    prompt : Prompts
        One prompt.
    positions : int64 ndarray, shape (position,)
        Positions whose states are kept.
    target : int
        Position of the target.

    Returns
    -------
    States
        The states.
    """
    at = torch.as_tensor(positions)
    entering: list[Tensor] = []
    kept: dict[TracingPart, list[Tensor]] = {"residual": [], "mlp": [], "attention": []}

    def enter(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        hidden = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
        entering.append(hidden[0, at.to(hidden.device)].clone())

    def keep(part: TracingPart) -> Hook:
        def hook(_: nn.Module, layer: int, output: Tensor) -> None:
            by_position = output.view(1, -1, output.shape[-1])
            kept[part].append(by_position[0, at.to(output.device)].clone())

        return hook

    watching = watched(
        traced,
        enter=enter,
        residual=keep("residual"),
        mlp=keep("mlp"),
        attention=keep("attention"),
    )
    with prompt.noised(traced.embedding), watching, without_head(traced.sites.head) as finals:
        model(**whole(model, prompt.ids))
    device = prompt.ids.device
    return States(
        entering=torch.stack([value.to(device) for value in entering]),
        of_part={part: torch.stack([value.to(device) for value in values]) for part, values in kept.items()},
        final=finals[0][0, target],
    )
