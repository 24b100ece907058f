"""FSDP2 on two gloo processes: half of everything in each, and the weights of one process."""

from __future__ import annotations

import multiprocessing
import os
import socket
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp
from lightning.pytorch import Callback, Trainer
from torch import Tensor

from lit_mlfund.callbacks import BestAndLast
from lit_mlfund.data.serving.spec import DataSpec, Field
from lit_mlfund.data.serving.token_windows import WindowStore
from lit_mlfund.datamodules import DataModule
from lit_mlfund.losses import CrossEntropyLoss
from lit_mlfund.models import Decoder
from lit_mlfund.modules import NextTokenModule
from lit_mlfund.optim import adamw, cosine, parameter_groups
from lit_mlfund.runs.assembly.trainer import build_trainer

LENGTH, K = 16, 10
SPEC = DataSpec(
    "multiclass", {"tokens": Field("sequence", (LENGTH,), cardinalities=(K,))}, classes=tuple("0123456789")
)


class Data(DataModule):
    """Numbers that each are the sum of the two before them, modulo 10, but for some."""

    def build(self) -> None:
        generator = torch.Generator().manual_seed(0)
        text = [1, 1]
        for noise in torch.rand(8 * 4 * LENGTH - 1, generator=generator).tolist():
            text.append((text[-1] + text[-2] + (noise < 0.1)) % K)
        tokens = torch.tensor(text, dtype=torch.uint8)
        self.stores = {
            split: WindowStore.strided(tokens, LENGTH, LENGTH) for split in ("train", "val", "test")
        }
        self.spec = SPEC

    def preprocessing(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        pass


def make_module(**options: Any) -> NextTokenModule:
    torch.manual_seed(0)
    return NextTokenModule(
        Decoder(SPEC, **{"dim": 32, "depth": 3, "num_heads": 2, "dropout": 0.0, **options}),
        CrossEntropyLoss(),
        SPEC,
        optimizer=lambda module: adamw(parameter_groups(module, weight_decay=0.1), lr=1e-2),
        schedule=partial(cosine),
        monitor="val/log_loss",
    )


class StopAfterTwo(Callback):
    """What a scheduler does, at the end of the second epoch."""

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        trainer.should_stop = trainer.current_epoch == 1


def train(
    folder: Path, world: int, *callbacks: Callback, resume: str | None = None, **options: Any
) -> NextTokenModule:
    """Three epochs of 8 windows a step in all, two micro-batches each, clipped in every step."""
    module = make_module(**options)
    trainer = build_trainer(
        max_epochs=3, accumulate_grad_batches=2, gradient_clip_val=0.05, log_every_n_steps=100, devices=world,
        strategy="fsdp" if world > 1 else "auto", callbacks=[*callbacks, BestAndLast(folder)],
        default_root_dir=str(folder),
    )  # fmt: skip
    data = Data(batch_size=4 // world, seed=3)
    trainer.fit(module, datamodule=data, ckpt_path=resume, weights_only=True)
    return module


def reported(module: NextTokenModule) -> dict[str, float]:
    """The means over the steps of the last epoch."""
    return {name: float(value) for name, value in module.trainer.callback_metrics.items()}


def local(value: Any) -> Tensor:
    return value.to_local() if hasattr(value, "to_local") else value


def train_sharded(rank: int, world: int, port: int, folder: Path, options: dict[str, Any]) -> None:
    os.environ.update(
        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK=str(rank), LOCAL_RANK=str(rank), GROUP_RANK="0",
        WORLD_SIZE=str(world), LOCAL_WORLD_SIZE=str(world), TORCHELASTIC_RUN_ID="test",
    )  # fmt: skip
    torch.set_num_threads(1)
    module = train(folder, world, **options)
    (optimizer,) = module.trainer.optimizers
    state = [value for entry in optimizer.state.values() for value in entry.values() if value.ndim > 0]
    torch.save(
        {
            "parameters": sum(local(parameter).numel() for parameter in module.parameters()),
            "state": sum(local(value).numel() for value in state),
            "gathered": [parameter.numel() for parameter in module.parameters()],
            "measured": module.measured["val"],
            "reported": reported(module),
        },
        folder / f"{rank}.pt",
    )
    stopped = train(folder / "stopped", world, StopAfterTwo(), **options)
    assert stopped.trainer.global_step == 8 and module.trainer.global_step == 12
    train(folder / "stopped", world, resume=str(folder / "stopped" / "last.ckpt"), **options)
    torch.distributed.destroy_process_group()


def test_two_processes_hold_half_each_and_reach_the_weights_of_one(tmp_path: Path) -> None:
    options = {"activation_checkpointing": True, "tie_embeddings": True}
    alone = train(tmp_path / "alone", 1, **options)
    last_epoch = reported(alone)
    assert last_epoch["gradient/clipped_share"] == 1
    multiprocessing.set_forkserver_preload(
        ["lightning.pytorch", "lit_mlfund.runs.assembly.trainer", "pytest"]
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.start_processes(train_sharded, (2, port, tmp_path, options), nprocs=2, start_method="forkserver")

    total = sum(parameter.numel() for parameter in alone.parameters())
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    assert sum(found["reported"]["train/loss"] for found in ranks) / 2 == pytest.approx(
        last_epoch["train/loss"], rel=1e-5
    )
    for found in ranks:
        for name in ("gradient/norm", "gradient/norm_max", "gradient/clipped_share"):
            assert found["reported"][name] == pytest.approx(last_epoch[name], rel=1e-4), name
        assert found["parameters"] == pytest.approx(total / 2, rel=0.05)
        assert found["state"] == pytest.approx(2 * total / 2, rel=0.05)  # two moments
        assert sum(found["gathered"]) == total
        assert found["measured"]["log_loss"] == pytest.approx(alone.measured["val"]["log_loss"], abs=1e-5)
    # one file, gathered, that a single process loads
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    served = make_module(**options)
    served.load_state_dict(state)
    start = make_module(**options).state_dict()
    for name, expected in alone.state_dict().items():
        moved = (expected - start[name]).abs().max()
        assert (state[name] - expected).abs().max() < 1e-3 * moved, name
    # and that a stopped run goes on from, to the bit
    resumed = torch.load(tmp_path / "stopped" / "last.ckpt", weights_only=True)
    assert resumed["global_step"] == alone.trainer.global_step
    for name, weight in resumed["state_dict"].items():
        assert torch.equal(weight, state[name]), name
