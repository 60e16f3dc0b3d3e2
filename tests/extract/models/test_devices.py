"""Models spread over several GPUs, and models on one, without any: a machine that is as strict as CUDA is.

`Machine` keeps a device for the memory behind every tensor, `cpu:1` and `cpu:2` for GPUs and `cpu` for the host.
Numbers are computed as ever; what CUDA would refuse (operands on two devices, a GPU's tensor read by NumPy) raises,
in backward passes too.
"""

from __future__ import annotations

import functools
import importlib.util
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AlbertConfig, AlbertForMaskedLM

from qloc.errors import InputError, MissingDependencyError
from qloc.extract.attribution import engine_proof
from qloc.extract.models import devices, loading
from qloc.extract.models.architectures import sites
from qloc.extract.models.loading import source
from qloc.extract.signals.extraction import prepare
from qloc.plan import Plan
from qloc.store.schema import manifest
from qloc.workflows.extract import extract_study

HOST, FIRST, SECOND = (torch.device(name) for name in ("cpu", "cpu:1", "cpu:2"))
aten: Any = torch.ops.aten
SMALL = {
    "quadrature": "midpoint",
    "steps": 1,
    "memory": 10**8,
    "threads": 1,
    "interventions": {
        "operations": ("suppress", "mean", "resample"),
        "sets": ("own", "other_fact", "matched"),
        "synapse_operations": ("enhance", "suppress_renormalized"),
        "synapse_sets": ("knowledge", "other_heads", "other_fact"),
    },
    "edits": {
        "sets": ("own", "matched", "in_context"),
        "n_probes": 2,
        "text_tokens": 16,
        "greedy_tokens": 2,
    },
}
COPIES = {aten.copy_, aten._to_copy}
INDEXED = {aten.index, aten.index_put, aten.index_put_, aten._unsafe_index, aten._unsafe_index_put}
BACKWARD = {torch.autograd.grad, torch.autograd.backward, torch.Tensor.backward}
INDEXED |= {aten._index_put_impl, aten._index_put_impl_}


class Machine:
    """Which device the memory of every tensor is on.

    Memory is known by its storage, which views and what autograd saves share; a weak reference keeps its address
    from being used again. What torch makes by itself in a backward pass would be made where its gradient is: it has
    no device, and goes with any.
    """

    def __init__(self) -> None:
        self._held: dict[int, tuple[StorageWeakRef, torch.device | None]] = {}
        self.n_moves = 0
        self.asked = False
        self.refused: list[str] = []

    def of(self, tensor: torch.Tensor) -> torch.device:
        return self.held(tensor) or HOST

    def held(self, tensor: torch.Tensor) -> torch.device | None:
        found = self._held.get(tensor.untyped_storage()._cdata)
        return found[1] if found else HOST

    def put(self, tensor: torch.Tensor, device: torch.device | None) -> None:
        storage = tensor.untyped_storage()
        self._held[storage._cdata] = (StorageWeakRef(storage), device)

    def moved(self, tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
        if device == self.of(tensor):
            return tensor
        self.n_moves += 1
        return Move.apply(tensor, self, device)


class Move(torch.autograd.Function):
    """A copy on another device; its gradient goes back."""

    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor, machine: Machine, device: torch.device) -> torch.Tensor:
        ctx.machine, ctx.back = machine, machine.of(tensor)
        made = tensor.clone()
        machine.put(made, device)
        return made

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> Any:
        return ctx.machine.moved(upstream[0], ctx.back), None, None


def tensors_in(values: Iterable[Any]) -> Iterator[torch.Tensor]:
    """Every tensor in nested sequences; what torch has for it takes longer than most of the operations here."""
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (tuple, list)):
            yield from tensors_in(value)


class Operations(TorchDispatchMode):
    """Every operation, those of backward passes among them: operands on one device, the outcome there too."""

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self.machine = machine

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [*tensors_in((*args, *kwargs.values()))]
        if any(tensor.is_meta for tensor in tensors):
            return func(*args, **kwargs)
        asked, packet = kwargs.get("device"), func.overloadpacket
        device: torch.device | None = self._where(packet, args, tensors)
        if asked is not None and asked.index is not None:
            device = asked
        elif not tensors:
            device = HOST if self.machine.asked else None
        old = {tensor.untyped_storage()._cdata for tensor in tensors}
        found = func(*args, **kwargs)
        for made in tensors_in((found,)):
            if not made.is_meta and made.untyped_storage()._cdata not in old:
                self.machine.put(made, device)
        return found

    def _where(self, packet: Any, args: Any, tensors: list[torch.Tensor]) -> torch.device:
        if packet in COPIES:
            return self.machine.of(args[0])
        own = args[0] if packet in INDEXED else None
        indices = {id(part) for part in args[1] if part is not None} if own is not None else set()
        found = dict.fromkeys(
            device
            for tensor in tensors
            if (device := self.machine.held(tensor)) is not None
            and (device != HOST or (tensor.dim() > 0 and id(tensor) not in indices))
        )
        if len(found) > 1:
            self.machine.refused.append(
                f"expected all tensors of {packet} on one device, found {list(found)}"
            )
            raise RuntimeError(self.machine.refused[-1])
        return next(iter(found), HOST)


class Calls(TorchFunctionMode):
    """What Python code asks of devices: where a tensor is, a copy elsewhere, an array."""

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self.machine = machine

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func == torch.Tensor.device.__get__:
            return func(*args) if args[0].is_meta else self.machine.of(args[0])
        if func is torch.Tensor.cpu:
            return self.machine.moved(args[0], HOST)
        if func is torch.Tensor.to:
            return self._to(*args, **kwargs)
        if func in (torch.Tensor.numpy, torch.Tensor.__array__) and self.machine.of(args[0]) != HOST:
            raise TypeError(f"can't convert {self.machine.of(args[0])} tensor to numpy. Use Tensor.cpu()")
        if func in (torch.tensor, torch.as_tensor):
            device = torch.device(kwargs.pop("device", None) or HOST)
            if isinstance(args[0], torch.Tensor):
                return self.machine.moved(func(*args, **kwargs), device)
            made = func(*args, **kwargs)
            self.machine.put(made, device)
            return made
        self.machine.asked = func not in BACKWARD
        try:
            return func(*args, **kwargs)
        finally:
            self.machine.asked = False

    def _to(self, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        other = next((one for one in (*args, *kwargs.values()) if isinstance(one, torch.Tensor)), None)
        device: torch.device | None
        dtype: torch.dtype | None
        if other is not None:
            device, dtype = self.machine.of(other), other.dtype
        else:
            kwargs.pop("copy", None)
            parsed: Any = torch._C._nn._parse_to(*args, **kwargs)  # its stub promises both, which may be None
            device, dtype, *_ = parsed
        if tensor.is_meta or (device is not None and device.type == "meta"):
            return tensor.to(*args, **kwargs)
        found = tensor if dtype is None else tensor.to(dtype)
        return found if device is None else self.machine.moved(found, device)


@contextmanager
def running(machine: Machine) -> Iterator[Machine]:
    with Operations(machine), Calls(machine):
        yield machine


# The machine itself


def test_the_machine_refuses_what_cuda_refuses() -> None:
    with running(Machine()) as machine:
        here, there = torch.ones(3, device=FIRST), torch.ones(3, device=SECOND)
        host = torch.arange(3)
        for broken in (
            lambda: here + there,
            lambda: here @ torch.ones(3),
            lambda: torch.cat([here, there]),
            lambda: here[there.long()],
            lambda: torch.nn.functional.linear(here[None], there[None]),
            lambda: here.index_select(0, host),
            lambda: here + torch.tensor(1.0, device=SECOND),
        ):
            with pytest.raises(RuntimeError, match="on one device"):
                broken()
        with pytest.raises(TypeError, match="can't convert cpu:1 tensor to numpy"):
            np.asarray(here)
        assert (here + there.to(here)).device == FIRST
        assert (here * 2 + torch.tensor(1.0))[host].device == FIRST
        assert torch.as_tensor(np.ones(3), device=there.device).device == SECOND
        assert there.new_zeros(2).device == torch.zeros_like(there)[1:].device == SECOND
        assert here.cpu().numpy().sum() == 3
        assert machine.n_moves == 2


def test_the_machine_watches_backward_passes() -> None:
    class Astray(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, given: torch.Tensor) -> torch.Tensor:
            return given * 1

        @staticmethod
        def backward(ctx: Any, *upstream: torch.Tensor) -> torch.Tensor:
            return upstream[0].to(SECOND)

    with running(Machine()):
        leaf = torch.ones(3, device=FIRST, requires_grad=True)
        ((leaf * 2).softmax(0).to(SECOND) * 3).exp().sum().backward()
        assert leaf.grad is not None
        assert leaf.grad.device == FIRST
        with pytest.raises(RuntimeError, match="on one device"):
            Astray.apply(leaf.exp()).sum().backward()


# Extraction on it


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """Two empty GPUs of a gigabyte."""
    monkeypatch.setattr(devices, "free_memory", lambda: {FIRST: 10**9, SECOND: 10**9})
    with running(Machine()) as made:
        yield made


@pytest.fixture(scope="module")
def plan_of(tiny: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Plan]:
    """A small study of a tiny model, all phases."""
    path = tmp_path_factory.mktemp("facts") / "facts.jsonl"

    def plan(kind: str, **given: Any) -> Plan:
        with path.open("w") as lines:
            for subject, answer in (("France", "Paris"), ("Peru", "Ur")):  # of one token, and of several
                fact = {"id": subject, "relation": "capital", "subject": subject, "object": answer}
                queries = ["The capital of [X] is [Y].", "[X]'s capital, [Y]"]
                lines.write(json.dumps({**fact, "queries": queries}) + "\n")
        return Plan(model=str(tiny(kind).folder), facts=str(path), **{**SMALL, **given})

    return plan


def objects(plan: Plan, out: Path) -> dict[str, str]:
    """Path → digest of everything that a study's store holds."""
    extract_study(plan, out)
    found: dict[str, str] = manifest.read(out)["objects"]
    return found


@pytest.fixture(scope="module")
def of_the_cpu(
    plan_of: Callable[..., Plan], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], dict[str, str]]:
    """Path → digest of a store of all phases that the CPU made, once for each kind of model."""

    @functools.cache
    def made(kind: str) -> dict[str, str]:
        plan = plan_of(kind, device="cpu", methods=("ig", "sig"))
        return objects(plan, tmp_path_factory.mktemp(kind) / "cpu.zarr")

    return made


@pytest.mark.parametrize("kind", ["gpt2", "llama", "bert"])
def test_two_gpus_give_the_bits_of_one_device(
    kind: str,
    plan_of: Callable[..., Plan],
    of_the_cpu: Callable[[str], dict[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = plan_of(kind, device="map", methods=("ig", "sig"))
    expected = of_the_cpu(kind)
    monkeypatch.setattr(devices, "free_memory", lambda: {FIRST: 10**9, SECOND: 10**9})
    with running(Machine()) as machine:
        assert objects(plan, tmp_path / "two.zarr") == expected
    assert machine.refused == []  # nor was it caught, and another way taken
    assert machine.n_moves > 500
    assert manifest.read(tmp_path / "two.zarr")["run"]["environment"]["device"] == "2 x cpu"


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("mistral", {"answer_tokens": "first"}),  # each query has a mask; later tokens are only scored
        ("llama", {"dtype": "bfloat16"}),
        ("llama", {"site": "mlp_pre", "methods": ("ig", "sig")}),
        ("gpt2", {"quadrature": "adaptive", "gap_tolerance": 1e-6, "methods": ("ig", "amig")}),
    ],
)
def test_two_gpus_give_the_bits_of_one_device_whatever_is_asked(
    kind: str,
    given: dict[str, Any],
    plan_of: Callable[..., Plan],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = plan_of(kind, device="map", phases=("signals",), **given)
    expected = objects(plan, tmp_path / "one.zarr")
    monkeypatch.setattr(devices, "free_memory", lambda: {FIRST: 10**9, SECOND: 10**9})
    with running(Machine()) as machine:
        assert objects(plan, tmp_path / "two.zarr") == expected
    assert machine.refused == []


@pytest.mark.parametrize(
    ("kind", "ways"),
    [
        ("llama", [("before", False)]),
        ("llama", []),
        ("bert", [("before", True)]),
        ("bert", [("before", False)]),
    ],
)
def test_two_gpus_give_the_bits_of_one_device_however_rows_join(
    kind: str,
    ways: list[tuple[str, bool]],
    plan_of: Callable[..., Plan],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine_proof, "_WAYS", {"causal": ways, "masked": ways})
    plan = plan_of(kind, device="map", phases=("signals",))
    expected = objects(plan, tmp_path / "one.zarr")
    monkeypatch.setattr(devices, "free_memory", lambda: {FIRST: 10**9, SECOND: 10**9})
    with running(Machine()) as machine:
        assert objects(plan, tmp_path / "two.zarr") == expected
    assert machine.refused == []


def test_a_last_block_that_is_cut_may_lie_alone(
    plan_of: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of("bert", device="map", phases=("signals",))
    expected = objects(plan, tmp_path / "one.zarr")
    where = dict.fromkeys(("bert.embeddings", "cls", "bert.encoder.layer.0", "bert.encoder.layer.1"), FIRST)
    monkeypatch.setattr(loading, "spread", lambda *_: {**where, "bert.encoder.layer.2": SECOND})
    with running(Machine()) as machine:
        assert objects(plan, tmp_path / "two.zarr") == expected
    assert machine.refused == []


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_one_gpu_gives_the_bits_of_the_cpu(
    kind: str,
    plan_of: Callable[..., Plan],
    of_the_cpu: Callable[[str], dict[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = of_the_cpu(kind)
    monkeypatch.setattr(loading, "accelerate_installed", lambda: False)  # by way of the CPU
    with running(Machine()) as machine:
        assert (
            objects(plan_of(kind, device="cpu:1", methods=("ig", "sig")), tmp_path / "gpu.zarr") == expected
        )
    assert machine.refused == []


# Who lies where


@pytest.mark.parametrize("kind", ["gpt2", "llama", "bert"])
def test_blocks_are_whole_and_go_on_where_the_last_device_ends(
    kind: str, tiny: Callable[[str], Any], machine: Machine
) -> None:
    loaded = source(str(tiny(kind).folder)).load(dtype="float32", device="map")
    of_block = [devices.devices_of(block) for block in loaded.sites.blocks]
    assert all(len(found) == 1 for found in of_block)
    order = [found[0] for found in of_block]
    assert order == sorted(order, key=lambda device: device.index)
    assert set(devices.devices_of(loaded.model)) == {FIRST, SECOND}
    given, head = loaded.model.get_input_embeddings().weight, loaded.sites.head.weight
    if loaded.model.config.tie_word_embeddings:
        assert given is head
    buffers = [machine.of(buffer) for _, buffer in loaded.model.named_buffers()]
    assert HOST not in buffers


def test_what_fits_on_no_gpu_is_refused_before_weights_are_read(
    tiny: Callable[[str], Any], machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = source(str(tiny("llama").folder))
    monkeypatch.setattr(found._auto, "from_pretrained", None)
    with pytest.raises(InputError) as caught:
        found.load(dtype="float32", device="map", spare=8 * 10**9)
    assert str(caught.value) == (
        f"size of {found.name} is '0.0 GB'; expected what fits on the GPUs (1.0 GB, 1.0 GB free) beside --memory "
        "(8.0 GB) for rows on each: what lay elsewhere would come to a GPU for every pass, and stay there until its "
        "backward pass. At qloc extract --device map. Give more GPUs, --dtype bfloat16, a smaller --memory, or "
        "--device cpu."
    )


def test_what_accelerate_cannot_divide_is_refused_by_name(machine: Machine) -> None:
    sizes: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
    }
    config = AlbertConfig(**sizes, embedding_size=24, max_position_embeddings=64, vocab_size=300)
    with torch.device("meta"):
        empty = AlbertForMaskedLM(config)
    with pytest.raises(InputError) as caught:
        devices.spread(empty, sites(empty).blocks, 0, "my-albert")
    assert str(caught.value) == (
        "model is 'my-albert'; expected a model that accelerate can divide (list index out of range). "
        "At qloc extract --device map. Give --device auto or a GPU's name."
    )


def test_without_accelerate_a_map_is_refused_and_one_device_is_not(
    plan_of: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError) as caught:
        prepare(plan_of("gpt2", device="map"))
    assert str(caught.value) == (
        "package accelerate is 'missing'; expected installed; qloc[devices] brings it. At qloc extract --device map. "
        "In the clone, run: pip install -c constraints.txt '.[extract,devices]'."
    )
    assert not devices.accelerate_installed()


def test_without_gpus_there_are_none_to_spread_over() -> None:
    assert list(devices.free_memory()) == [
        torch.device("cuda", number) for number in range(torch.cuda.device_count())
    ]
