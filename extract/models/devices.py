"""Spread a model over several GPUs: which device holds which module, and how tensors come to one device.

accelerate spreads the model. Its hooks move the inputs of a module to the module's device. They replace
``forward``, so they run after every pre-hook and before every other hook: a pre-hook sees its input on the
device of the module before. Code in hooks must therefore move its own tensors to the device of the tensor
that it meets.
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
"""Value of ``--device`` that spreads a model over all GPUs."""

Placement = Mapping[str, torch.device]
"""Module path → device; the empty path is the whole model."""

_PLACE: Final = "qloc extract --device map"


def stacked(layers: Iterable[Tensor], device: torch.device) -> Tensor:
    """Stack the outputs of a model's layers, each on its own device, into one tensor.

    Parameters
    ----------
    layers : iterable of Tensor, shape (row, ...)
        One tensor for each layer.
    device : torch.device
        Device of the result.

    Returns
    -------
    Tensor, shape (row, layer, ...)
        The stacked tensors.
    """
    return torch.stack([part.to(device) for part in layers], 1)


def accelerate_installed() -> bool:
    """Return whether accelerate is installed, without which weights cannot be read straight onto a device.

    Returns
    -------
    bool
        Whether the package can be imported.
    """
    return importlib.util.find_spec("accelerate") is not None


def require_accelerate() -> None:
    """Refuse to go on without accelerate.

    Raises
    ------
    MissingDependencyError
        If accelerate is not installed; the message names the extra that brings it.
    """
    if not accelerate_installed():
        rule = "installed; qloc[devices] brings it"
        action = "In the clone, run: pip install -c constraints.txt '.[extract,devices]'"
        raise MissingDependencyError(message("package accelerate", "missing", rule, _PLACE, action))


def free_memory() -> dict[torch.device, int]:
    """Return how much memory is free on each GPU.

    Returns
    -------
    dict of torch.device to int
        Free bytes of every GPU that torch sees.
    """
    free = {}
    for number in range(torch.cuda.device_count()):
        device = torch.device("cuda", number)
        free[device], _ = torch.cuda.mem_get_info(device)
    return free


def spread(empty: Any, blocks: Sequence[nn.Module], spare: int, name: str) -> Placement:
    """Assign every module of a model to a device.

    Blocks are never split. They are spread evenly over all GPUs; without GPUs, the device is the CPU.

    Parameters
    ----------
    empty : transformers.PreTrainedModel
        The model without memory for its weights (on torch's device ``meta``).
    blocks : sequence of torch.nn.Module
        The model's blocks; none is split.
    spare : int
        Bytes that each GPU keeps free for rows.
    name : str
        Name of the model, for messages.

    Returns
    -------
    mapping of str to torch.device
        Module path → device; the empty path is the whole model.

    Raises
    ------
    MissingDependencyError
        If accelerate is not installed.
    InputError
        If accelerate cannot divide the model, or if the weights do not fit on the GPUs. Weights in CPU memory
        or on disk would be copied to a GPU for every pass and kept there until its backward pass, so they
        would have to fit after all.
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
    except (IndexError, KeyError, ValueError) as error:  # as for ALBERT, whose layers share one module
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
    """Return the devices that hold a model's weights.

    Parameters
    ----------
    model : torch.nn.Module
        A model, or a part of one.

    Returns
    -------
    list of torch.device
        Distinct devices, in the order of the weights.
    """
    return list(dict.fromkeys(part.device for part in model.parameters()))


def peak_of_gpus() -> int:
    """Return the most memory that tensors of this process have taken on GPUs.

    Returns
    -------
    int
        Bytes, all GPUs together; 0 where none was used.
    """
    if not torch.cuda.is_initialized():
        return 0
    return sum(torch.cuda.max_memory_allocated(number) for number in range(torch.cuda.device_count()))


def described(model: nn.Module) -> str:
    """Return the names of the devices that hold a model's weights, for the manifest.

    Parameters
    ----------
    model : torch.nn.Module
        A model with its weights.

    Returns
    -------
    str
        Such as ``"cpu"`` or ``"2 x NVIDIA H100"``.
    """
    names = [_name(device) for device in devices_of(model)]
    counts = {name: names.count(name) for name in names}
    return ", ".join(name if count == 1 else f"{count} x {name}" for name, count in counts.items())


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
