"""Training with sparse tables: the hand loop's weights, resuming, accumulation, processes, checkpoints."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from lightning.pytorch import Callback
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from lit_mlfund.callbacks import BestAndLast, Progress, StopOnSignal, WeightStatistics
from lit_mlfund.data.serving.loader import BatchLoader
from lit_mlfund.data.serving.spec import DataSpec, Field
from lit_mlfund.data.serving.store import PointStore
from lit_mlfund.datamodules import DataModule
from lit_mlfund.losses import BinaryCrossEntropyLoss
from lit_mlfund.models import DLRM
from lit_mlfund.modules import BinaryModule
from lit_mlfund.modules.clipping import clip_norm
from lit_mlfund.optim import Combined, RowwiseAdagrad, SparseTables, adamw, parameter_groups
from lit_mlfund.optim.native import tensors
from lit_mlfund.runs.assembly.trainer import build_trainer
from lit_mlfund.startup.signals import Stopped, StopRequest
from tests.callbacks.test_resume import SignalAtStep, keep_handlers  # noqa: F401
from tests.callbacks.test_weights import RecordingLogger
from tests.optim.test_rowwise import Largest

BATCH, STEPS, EPOCHS, CLIP = 32, 23, 2, 0.05
CARDINALITIES = (40, 7, 300)
SPEC = DataSpec(
    "binary",
    {
        "numeric": Field("numeric", (3,)),
        "categorical": Field("categorical", (3,), cardinalities=CARDINALITIES),
    },
    classes=("no", "yes"),
)
TABLE = "model.encoders.categorical.table.weight"


def make_store(size: int, seed: int) -> PointStore:
    generator = torch.Generator().manual_seed(seed)
    codes = torch.stack([torch.randint(n, (size,), generator=generator) for n in CARDINALITIES], 1)
    x = {"numeric": torch.randn(size, 3, generator=generator), "categorical": codes}
    return PointStore(x, ((codes[:, 0] + codes[:, 2]) % 3 == 0).float())


class Data(DataModule):
    tasks = ("binary",)

    def build(self) -> None:
        self.spec = SPEC
        self.stores |= {"train": make_store(BATCH * STEPS, 0), "val": make_store(100, 1)}

    def preprocessing(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        pass


def make_optimizer(module: nn.Module, tables: SparseTables) -> Combined:
    beside = tables.optimizer(module)
    groups = parameter_groups(module, 1e-2, skip=tensors(beside.param_groups))
    return Combined([adamw(groups, lr=3e-3), beside])


def make_module(dropout: float = 0.0) -> BinaryModule:
    torch.manual_seed(0)
    model, tables = DLRM(SPEC, embedding_dim=4, bottom=(8,), top=(8,), dropout=dropout), SparseTables(lr=0.1)
    tables.prepare(model)
    return BinaryModule(
        model,
        BinaryCrossEntropyLoss(),
        SPEC,
        optimizer=lambda module: make_optimizer(module, tables),
        schedule=lambda optimizer, steps: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps),
    )


def fit(
    folder: Path,
    *callbacks: Callback,
    lean: bool = True,
    resume: bool = False,
    batch: int = BATCH,
    dropout: float = 0.0,
    **trainer: Any,
) -> BinaryModule:
    module, data = (
        make_module(dropout),
        Data(batch_size=batch, seed=3),
    )
    data.setup()
    checkpoints = BestAndLast(folder)
    stop = StopOnSignal(StopRequest().install(), checkpoints)
    options: dict[str, Any] = {"max_epochs": EPOCHS, "gradient_clip_val": CLIP, **trainer}
    built = build_trainer(
        callbacks=[*callbacks, Progress(), checkpoints, stop], default_root_dir=str(folder), **options
    )
    if lean:
        module.use_lean_steps(built)
    built.fit(
        module, datamodule=data, ckpt_path=str(checkpoints.last_path) if resume else None, weights_only=True
    )
    return module


def assert_equal(module: nn.Module, other: nn.Module) -> None:
    expected = other.state_dict()
    for name, value in module.state_dict().items():
        assert torch.equal(value, expected[name]), name


def hand_loop() -> BinaryModule:
    module, store = make_module(), make_store(BATCH * STEPS, 0)
    table = module.get_parameter(TABLE)
    rest = [parameter for parameter in module.parameters() if parameter is not table]
    optimizers = [
        torch.optim.AdamW(
            [
                {"params": [p for p in rest if p.ndim > 1], "weight_decay": 1e-2},
                {"params": [p for p in rest if p.ndim == 1], "weight_decay": 0.0},
            ],
            lr=3e-3,
            fused=True,
        ),
        RowwiseAdagrad([table], lr=0.1),
    ]
    schedules = [torch.optim.lr_scheduler.CosineAnnealingLR(one, T_max=STEPS * EPOCHS) for one in optimizers]
    loader = BatchLoader(store, BATCH, shuffle=True, seed=3)
    for _ in range(EPOCHS):
        for batch in loader:
            module.zero_grad()
            nn.functional.binary_cross_entropy_with_logits(module.model(batch.x), batch.y).backward()
            clip_norm(list(module.parameters()), CLIP)
            for one in (*optimizers, *schedules):
                one.step()
    return module


@pytest.mark.parametrize("lean", [True, False])
def test_weights_equal_the_hand_loop_to_the_bit(tmp_path: Path, lean: bool) -> None:
    module = fit(tmp_path, lean=lean)
    assert module.steps_per_call == (10 if lean else 1)
    assert_equal(module, hand_loop())


def test_weight_decay_spares_tables(tmp_path: Path) -> None:
    module = fit(tmp_path, max_epochs=1)
    unseen = torch.ones(sum(CARDINALITIES), dtype=torch.bool)
    starts = torch.tensor([0, *CARDINALITIES]).cumsum(0)[:-1]
    unseen[(make_store(BATCH * STEPS, 0).x["categorical"] + starts).flatten()] = False
    assert unseen.any()
    before, after = make_module().get_parameter(TABLE), module.get_parameter(TABLE)
    assert torch.equal(before[unseen], after[unseen])
    assert not torch.equal(before[~unseen], after[~unseen])


@pytest.mark.parametrize("lean", [True, False])
def test_resumed_weights_are_equal_to_the_bit(tmp_path: Path, lean: bool) -> None:
    never = SignalAtStep(10**9)
    expected = fit(tmp_path / "whole", never, lean=lean, dropout=0.2)
    with pytest.raises(Stopped):
        fit(tmp_path / "cut", SignalAtStep(15), lean=lean, dropout=0.2)
    resumed = fit(tmp_path / "cut", never, lean=lean, dropout=0.2, resume=True)
    assert_equal(resumed, expected)


def test_a_checkpoint_holds_both_in_plain_tensors(tmp_path: Path) -> None:
    fit(tmp_path)
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    rows = sum(CARDINALITIES)
    assert checkpoint["state_dict"][TABLE].shape == (rows, 4)
    (state,) = checkpoint["optimizer_states"]
    kinds = [sorted(state["state"][number]) for group in state["param_groups"] for number in group["params"]]
    assert kinds[-1] == ["sum"] and all(kind == ["exp_avg", "exp_avg_sq", "step"] for kind in kinds[:-1])
    assert state["state"][state["param_groups"][-1]["params"][0]]["sum"].shape == (rows,)


def test_accumulated_halves_equal_the_whole(tmp_path: Path) -> None:
    whole = fit(tmp_path / "whole", max_epochs=1, lean=False)
    halves = fit(tmp_path / "halves", max_epochs=1, batch=BATCH // 2, accumulate_grad_batches=2)
    assert halves.trainer.global_step == whole.trainer.global_step == STEPS
    for name, value in halves.state_dict().items():
        torch.testing.assert_close(value, whole.state_dict()[name], rtol=1e-3, atol=1e-5)


def test_statistics_of_tables_are_of_the_rows_of_the_step(tmp_path: Path) -> None:
    logger = RecordingLogger()
    fit(tmp_path, WeightStatistics(), max_epochs=1, logger=logger, log_every_n_steps=10)
    module = make_module()
    batch = next(iter(BatchLoader(make_store(BATCH * STEPS, 0), BATCH, shuffle=True, seed=3)))
    starts = torch.tensor([0, *CARDINALITIES]).cumsum(0)[:-1]
    rows = (batch.x["categorical"] + starts).unique()
    norm = float(module.get_parameter(TABLE).detach()[rows].norm())
    values = logger.values["weights/norm/encoders.categorical.table"]
    assert values[min(values)] == pytest.approx(norm, rel=1e-5)
    assert set(logger.values["lr/tables"]) == {10, 20, 23}


def test_no_step_makes_a_tensor_as_large_as_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    largest, steps = Largest(), BinaryModule._steps

    def watched(module: BinaryModule, batches: Any) -> None:
        with largest:
            steps(module, batches)

    monkeypatch.setattr(BinaryModule, "_steps", watched)
    fit(tmp_path, WeightStatistics(), logger=RecordingLogger(), max_epochs=1)
    rows = sum(CARDINALITIES)
    assert BATCH * 4 * 4 <= largest.numel < 4 * rows  # products of vectors of a batch


def test_clipping_by_value(tmp_path: Path) -> None:
    assert fit(tmp_path, max_epochs=1, gradient_clip_algorithm="value").trainer.global_step == STEPS


# --- two processes ----------------------------------------------------------------------------------------


def steps(module: nn.Module, model: nn.Module, batches: list[Any]) -> dict[str, Tensor]:
    optimizer = make_optimizer(module, SparseTables(lr=0.1))
    for x, y in batches:
        optimizer.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(model(x), y).backward()
        clip_norm(list(module.parameters()), CLIP)
        optimizer.step()
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def joint_batches(rank: int = 0, world_size: int = 1) -> list[Any]:
    store = make_store(BATCH * 5, 0)
    batches = [store.batch(index[rank::world_size]) for index in torch.arange(len(store)).split(BATCH)]
    return [(batch.x, batch.y) for batch in batches]


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    module = make_module()
    torch.save(
        steps(module, DistributedDataParallel(module.model), joint_batches(rank, 2)), f"{folder}/{rank}.pt"
    )
    dist.destroy_process_group()


def test_two_processes_equal_one(tmp_path: Path) -> None:
    # torch is imported once, in a server that the processes are forked from
    multiprocessing.set_forkserver_preload(["torch.nn.parallel", "lit_mlfund.modules", __name__])
    mp.start_processes(worker, (str(tmp_path),), nprocs=2, start_method="forkserver")
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    module = make_module()
    one = steps(module, module.model, joint_batches())
    for name, value in one.items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], value, rtol=1e-3, atol=1e-6)
