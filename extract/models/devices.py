"""Models larger than one GPU: a map of which device holds which module, and tensors brought to one device.

Through accelerate, whose hooks move what a module is given to the module's device. They stand in place of
``forward``, and so run behind every pre-hook and before every hook of ours: a pre-hook is given what the
module before made, on that one's device. So whatever meets a tensor in a hook goes where that tensor is.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

from qloc.errors import InputError, MissingDependencyError, message
from qloc.extract.models.torch_settings import quiet

MAP: Final = "map"
"""The device that is all GPUs."""

Placement = Mapping[str, torch.device]
"""Module path → device; the empty path is the whole model."""

_PLACE: Final = "qloc extract --device map"


def stacked(layers: Iterable[Tensor], device: torch.device) -> Tensor:
    """What a model's layers gave, each on its own device, as one tensor with a second axis ``layer``."""
    return torch.stack([part.to(device) for part in layers], 1)


def accelerate_installed() -> bool:
    """Whether weights can be read straight onto a device."""
    return importlib.util.find_spec("accelerate") is not None


def require_accelerate() -> None:
    """Refuse to go on without the package, naming the extra that brings it."""
    if not accelerate_installed():
        rule = "installed; qloc[devices] brings it"
        action = "In the clone, run: pip install -c constraints.txt '.[extract,devices]'"
        raise MissingDependencyError(message("package accelerate", "missing", rule, _PLACE, action))


def free_memory() -> dict[torch.device, int]:
    """Bytes that are free on each GPU that torch sees."""
    found = {}
    for number in range(torch.cuda.device_count()):
        device = torch.device("cuda", number)
        found[device], _ = torch.cuda.mem_get_info(device)
    return found


def spread(empty: Any, blocks: Sequence[nn.Module], spare: int, name: str) -> Placement:
    """Give every module of a model a device: blocks whole, evenly over all GPUs; without GPUs, the CPU.

    Parameters
    ----------
    empty : the model, without memory for its weights (on torch's device ``meta``).
    blocks : its blocks; none is cut.
    spare : bytes that each GPU keeps free for rows.
    name : the model's, for an error.

    Raises
    ------
    MissingDependencyError : accelerate is not installed.
    InputError : accelerate cannot divide the model, or the weights do not fit. What lies in CPU memory or on
        disk would be copied to a GPU for every pass, and kept there until its backward pass: it would have
        to fit after all.
    """
    require_accelerate()
    from accelerate import infer_auto_device_map
    from accelerate.utils import get_balanced_memory

    free = free_memory()
    if not free:
        return {"": torch.device("cpu")}
    gpus = list(free)
    room = {number: max(0, free[gpu] - spare) for number, gpu in enumerate(gpus)}
    whole = sorted({type(block).__name__ for block in blocks} | set(empty._no_split_modules or ()))
    try:
        with quiet():
            even = get_balanced_memory(empty, max_memory=room, no_split_module_classes=whole)
            placed = infer_auto_device_map(
                empty, max_memory=even, no_split_module_classes=whole, offload_buffers=True
            )
    except (IndexError, KeyError, ValueError) as error:  # such as of ALBERT, whose layers are one module
        rule = f"a model that accelerate can divide ({error})"
        raise InputError(message("model", name, rule, _PLACE, "Give --device auto or a GPU's name")) from None
    if not all(isinstance(number, int) for number in placed.values()):
        raise _no_room(empty, name, list(free.values()), spare)
    return {module: gpus[number] for module, number in placed.items()}


def _no_room(empty: Any, name: str, free: Sequence[int], spare: int) -> InputError:
    size = sum(part.numel() * part.element_size() for part in empty.parameters())
    there = ", ".join(map(_gb, free))
    rule = f"what fits on the GPUs ({there} free) beside --memory ({_gb(spare)}) for rows on each: what lay "
    rule += "elsewhere would come to a GPU for every pass, and stay there until its backward pass"
    action = "Give more GPUs, --dtype bfloat16, a smaller --memory, or --device cpu"
    return InputError(message(f"size of {name}", _gb(size), rule, _PLACE, action))


def _gb(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:.1f} GB"


def devices_of(model: nn.Module) -> list[torch.device]:
    """The devices that hold a model's weights, in the order of these."""
    return list(dict.fromkeys(part.device for part in model.parameters()))


def described(model: nn.Module) -> str:
    """The devices that hold a model's weights, as a reader of the manifest knows them."""
    names = [_name(device) for device in devices_of(model)]
    counts = {name: names.count(name) for name in names}
    return ", ".join(name if count == 1 else f"{count} x {name}" for name, count in counts.items())


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
