"""Hooks that spread networks over devices: what reaches torch, what is said where nothing can."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.ddp.pieces import in_pieces, whole
from cvtrainer.ddp.shard import Sharding, come_to_rest, parameter_sharding
from cvtrainer.engine.plan import Plan
from cvtrainer.engine.prepare import prepare_networks
from cvtrainer.engine.supervised import SupervisedTask
from cvtrainer.hooks import DataParallelHook, DDPHook, FSDPHook
from cvtrainer.trainer import Trainer
from tests.toy import ToyModel, batches, toy_trainer

CPU = torch.device("cpu")


@pytest.fixture
def one_rank(tmp_path: Path) -> Iterator[None]:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.fixture
def two_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the hooks are told; nothing is exchanged."""
    for room in ("ddp", "fsdp", "data_parallel"):
        monkeypatch.setattr(f"cvtrainer.hooks.{room}.running_processes", lambda: 2)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 6)
        self.attention = nn.MultiheadAttention(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.attention(x, self.inner(x), x)[0]


class Deep(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Block() for _ in range(3)])
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def groups(network: nn.Module) -> list[str]:
    """Names of the modules that are gathered as one."""
    from torch.distributed.fsdp import FSDPModule

    return [name for name, module in network.named_modules() if isinstance(module, FSDPModule)]


@pytest.mark.seed("S0-57", "S1-64")
@pytest.mark.parametrize("find", [False, True])
def test_options_reach_torch_s_ddp(one_rank: None, two_processes: None, find: bool) -> None:
    plan = Plan()
    hook = DDPHook(find, static_graph=not find, bucket_mb=3, broadcast_buffers=find)
    hook.configure(plan)
    assert plan.wrap is not None
    wrapped: Any = plan.wrap(ToyModel())
    assert wrapped.find_unused_parameters is find
    assert wrapped.static_graph is not find
    assert wrapped.bucket_bytes_cap == 3 * 1024 * 1024
    syncs = getattr(wrapped, "forward_sync_buffers", wrapped.broadcast_buffers)
    assert bool(syncs) is find
    assert (plan.hold_exchange is None) is not find, "a static graph needs every exchange"


def test_holding_the_exchange_back_is_ddp_s_no_sync(one_rank: None, two_processes: None) -> None:
    plan = Plan()
    DDPHook().configure(plan)
    assert plan.wrap is not None
    assert plan.hold_exchange is not None
    wrapped: Any = plan.wrap(nn.Linear(2, 2))
    with plan.hold_exchange(wrapped):
        assert not wrapped.require_backward_grad_sync
    assert wrapped.require_backward_grad_sync
    with plan.hold_exchange(nn.Linear(2, 2)):
        """A network without parameters to learn is not wrapped, and that is fine."""


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: DDPHook(compression="int8"), "compression is 'int8'"),  # type: ignore[arg-type]
        (lambda: DDPHook(bucket_mb=0), "bucket_mb is 0"),
        (lambda: FSDPHook(dtype="int8"), "dtype is 'int8'"),  # type: ignore[arg-type]
        (lambda: FSDPHook(block_parameters=0), "block_parameters is 0"),
        (lambda: DataParallelHook([1, 1]), "names one twice"),
    ],
)
def test_arguments_that_cannot_be(make: Any, text: str) -> None:
    with pytest.raises(UserError, match=text):
        make()


def test_two_ways_at_once_are_refused(two_processes: None) -> None:
    plan = Plan()
    DDPHook().configure(plan)
    with pytest.raises(UserError, match="Keep one of ddp, fsdp and data_parallel"):
        FSDPHook().configure(plan)


@pytest.mark.seed("S2-107")
@pytest.mark.parametrize("wanted", [False, True])
def test_batchnorm_is_converted_where_asked(
    two_processes: None, monkeypatch: pytest.MonkeyPatch, wanted: bool
) -> None:
    for hook in (DDPHook(sync_batchnorm=wanted), FSDPHook(sync_batchnorm=wanted)):
        plan = Plan(torch.device("cuda"))
        hook.configure(plan)
        assert plan.sync_batchnorm is wanted
        plan.device, plan.wrap = CPU, None
        task = SupervisedTask(ToyModel(), nn.CrossEntropyLoss())
        model = prepare_networks(task, plan).bare["model"]
        assert isinstance(model.adapter, nn.SyncBatchNorm) is wanted


def test_sync_batchnorm_on_the_cpu_is_told(two_processes: None) -> None:
    for hook in (DDPHook(sync_batchnorm=True), FSDPHook(sync_batchnorm=True)):
        plan = Plan()
        hook.configure(plan)
        assert not plan.sync_batchnorm
        assert len(hook._notes) == 1


def test_blocks_by_name_by_size_and_in_one_piece(one_rank: None) -> None:
    named = parameter_sharding(Sharding(blocks=("Block", "Linear")), CPU)(Deep())
    blocks = [f"blocks.{number}{part}" for number in range(3) for part in ("", ".inner")]
    assert groups(named) == ["", *blocks, "head"]
    sized = parameter_sharding(Sharding(block_parameters=100), CPU)(Deep())
    attentions = [f"blocks.{number}.attention" for number in range(3)]
    assert groups(sized) == ["", *attentions], "a part that is not called belongs to its owner"
    assert groups(parameter_sharding(Sharding(), CPU)(Deep())) == [""]
    with pytest.raises(UserError, match="no module of the model is a Blok"):
        parameter_sharding(Sharding(blocks=("Blok",)), CPU)(Deep())


@pytest.mark.parametrize("options", [Sharding(blocks=("Block",)), Sharding(block_parameters=50)])
def test_a_sharded_network_computes_the_same(one_rank: None, options: Sharding) -> None:
    torch.manual_seed(0)
    plain, x = Deep(), torch.randn(4, 2, 6)
    cut = Deep()
    cut.load_state_dict(plain.state_dict())
    parameter_sharding(options, CPU)(cut)
    plain(x).sum().backward()
    cut(x).sum().backward()
    for one, other in zip(plain.parameters(), cut.parameters(), strict=True):
        torch.testing.assert_close(whole(other.grad), one.grad)


def test_half_precision_leaves_running_statistics_alone(one_rank: None) -> None:
    options = Sharding(parameter_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    network: Any = parameter_sharding(options, CPU)(ToyModel(dropout=0.0))
    assert groups(network) == ["", "adapter"]
    output = network(torch.randn(5, 6))
    assert output.dtype == torch.float32
    output.sum().backward()
    assert {one.dtype for one in network.state_dict().values()} == {torch.float32, torch.int64}
    assert float(network.adapter.running_mean.abs().sum()) > 0


def test_an_evaluation_leaves_no_gathered_parameters(one_rank: None) -> None:
    options = Sharding(blocks=("Linear",), reshard_after_forward=False)
    network = parameter_sharding(options, CPU)(ToyModel()).eval()
    with torch.no_grad():
        network(torch.randn(5, 6))
    assert not all(in_pieces(one) for one in network.parameters())
    come_to_rest(network)
    assert all(in_pieces(one) for one in network.parameters())


def test_an_optimizer_made_before_sharding_is_refused(one_rank: None, two_processes: None) -> None:
    model = ToyModel()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    loader = {"train": batches()}
    trainer = Trainer(model, nn.CrossEntropyLoss(), optimizer, loader, hooks=[FSDPHook()])
    with pytest.raises(UserError, match="made before the network was sharded"):
        trainer.train(1)


@pytest.mark.seed("S0-56")
@pytest.mark.parametrize("hook", [DDPHook(), FSDPHook()])
def test_one_process_needs_neither(hook: Any) -> None:
    plan = Plan()
    hook.configure(plan)
    assert plan == Plan()


@pytest.mark.seed("S2-12")
@pytest.mark.parametrize(("there", "told"), [(0, "no GPU"), (1, "one GPU")])
def test_data_parallel_says_once_that_it_cannot(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], there: int, told: str
) -> None:
    hook = DataParallelHook()
    plan = Plan(torch.device("cuda" if there else "cpu"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    hook.configure(plan)
    assert plan.wrap is None
    plain, trainer = toy_trainer(dropout=0.0), toy_trainer([DataParallelHook()], dropout=0.0)
    if there:
        trainer.hooks["data_parallel"]._note = hook._note
    trainer.train(1)
    trainer.train(2)
    plain.train(2)
    said = capsys.readouterr().err
    assert said.count("hooks.data_parallel") == 1
    assert told in said
    for name, value in plain.model.state_dict().items():
        assert torch.equal(trainer.model.state_dict()[name], value)


@pytest.mark.seed("S2-12")
def test_data_parallel_divides_over_all_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as it goes without GPUs: torch's own wrapper with these devices, first one leading."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    made: list[Any] = []

    class Watched(nn.DataParallel):  # type: ignore[type-arg]
        def __init__(self, module: nn.Module, device_ids: Any = None) -> None:
            made.append(device_ids)
            super().__init__(module)

    monkeypatch.setattr(nn, "DataParallel", Watched)
    for devices, expected in ((None, [0, 1, 2]), ([2, 1], [2, 1])):
        plan = Plan(torch.device("cuda", 0))
        DataParallelHook(devices).configure(plan)
        assert plan.wrap is not None
        assert isinstance(plan.wrap(ToyModel()), Watched)
        assert made.pop() == expected
        assert plan.device == torch.device("cuda", expected[0])
    with pytest.raises(UserError, match="there is no GPU 3; there are 3"):
        DataParallelHook([0, 3]).configure(Plan(torch.device("cuda", 0)))


def test_data_parallel_leaves_several_processes_to_ddp(two_processes: None) -> None:
    plan, hook = Plan(), DataParallelHook()
    hook.configure(plan)
    assert plan.wrap is None
    assert "several processes" in hook._note
