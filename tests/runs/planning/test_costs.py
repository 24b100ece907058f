"""The arithmetic of a plan: rings, rooflines, steps of a training, and what to change."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from lit_mlfund.config.errors import ConfigError
from lit_mlfund.runs.planning.advice import Setting, changes
from lit_mlfund.runs.planning.costs import Kernel, Memory, Step, Traffic, Work
from lit_mlfund.runs.planning.devices import DEVICES, device_of
from lit_mlfund.runs.planning.workload import num_steps

DESCRIBED = {"memory_gb": 2.0, "tflops": 4.0, "bandwidth": 100.0, "interconnect": 10.0}
GB = 10**9
MEMORY = Memory(
    parameters=4 * GB,
    gradients=4 * GB,
    optimizer_state=8 * GB,
    activations=7 * GB,
    training_peak=24 * GB,
    phase="forward",
    validation_peak=5 * GB,
)


@pytest.mark.parametrize(
    ("collective", "group", "sent"),
    [
        ("all_gather", 4, 600),  # each of 4 parts of 200 passes on the three others
        ("reduce_scatter", 4, 600),
        ("all_reduce", 4, 1200),
        ("all_reduce", 1, 0),
    ],
)
def test_a_ring_sends_all_parts_but_one(collective: str, group: int, sent: int) -> None:
    assert Traffic(collective, group, 1, 800).wire == sent


def test_each_kernel_is_bound_by_arithmetic_or_by_memory() -> None:
    device = device_of(DESCRIBED, "gpu")
    arithmetic, moved = Kernel(8 * 10**12, 100, 32), Kernel(0, 50 * GB, 32)
    work = Work({arithmetic: 2, moved: 3})
    assert work.flops == 16 * 10**12
    assert work.seconds(device, efficiency=1.0) == pytest.approx(2 * 2.0 + 3 * 0.5)
    assert work.seconds(device, efficiency=0.5) == pytest.approx(2 * 5.5)


def test_half_precision_has_its_own_rate() -> None:
    kernels = [Work({Kernel(989 * 10**12, 0, bits): 1}) for bits in (16, 32)]
    halves, singles = (work.seconds(DEVICES["h100"], 1.0) for work in kernels)
    assert halves == pytest.approx(1.0)
    assert singles == pytest.approx(989 / 67)


def test_a_step_is_several_batches_and_one_update() -> None:
    batch = Work({Kernel(4 * 10**12, 0, 32): 1}, (Traffic("all_gather", 2, 3, 40 * GB),))
    update = Work({Kernel(0, 100 * GB, 32): 1}, (Traffic("all_reduce", 2, 1, 10 * GB),))
    step = Step(MEMORY, batch, update, accumulate=3)
    assert step.flops == 12 * 10**12
    assert step.traffic() == [Traffic("all_gather", 2, 9, 120 * GB), Traffic("all_reduce", 2, 1, 10 * GB)]
    took = step.time(device_of(DESCRIBED, "gpu"), link=10e9, efficiency=1.0)
    assert took.compute == pytest.approx(3 * 1.0 + 1.0)
    assert took.communication == pytest.approx((60 + 10) / 10)
    assert (took.best, took.worst) == pytest.approx((7.0, 11.0))


@pytest.mark.parametrize(
    ("trainer", "steps"),
    [
        ({"max_epochs": 3}, 3 * 25),  # 98 batches over 4 devices
        ({"max_epochs": 3, "accumulate_grad_batches": 4}, 3 * 7),
        ({"max_epochs": 3, "limit_train_batches": 0.5}, 3 * 12),
        ({"max_epochs": 3, "limit_train_batches": 10}, 3 * 10),
        ({"max_epochs": 3, "overfit_batches": 2}, 3 * 2),
        ({"max_epochs": 3, "max_steps": 20}, 20),
        ({"max_epochs": -1, "max_steps": 2000}, 2000),
        ({"max_epochs": -1}, None),
    ],
)
def test_the_steps_of_a_training(trainer: dict[str, float], steps: int | None) -> None:
    assert num_steps(OmegaConf.create(trainer), 98, 4) == steps
    assert num_steps(OmegaConf.create({"max_epochs": 3}), None, 4) is None


def test_links_between_machines() -> None:
    h100 = DEVICES["h100"]
    assert h100.link(8) == 450e9
    assert h100.link(16) == h100.link(8, num_machines=2) == 50e9
    assert device_of(DESCRIBED, "gpu").link(1000, num_machines=100) == 10e9


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("h1000", "plan.device: h1000 is not in the table; did you mean h100?"),
        (DESCRIBED | {"tflops": 0.0}, "plan.device.tflops must be above 0, got 0.0"),
        (DESCRIBED | {"tflop": 1.0}, "plan.device.tflop: unknown; did you mean tflops?"),
        ({"memory_gb": 1.0}, "plan.device.tflops is required"),
    ],
)
def test_unknown_devices(value: object, problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        device_of(value, "gpu")
    assert problem in str(error.value)


def test_what_fits_needs_no_change() -> None:
    assert changes(MEMORY, 24 * GB, Setting("single", 1, 32, "32-true")) == []


def test_fewer_rows_make_up_for_what_is_missing() -> None:
    found = {
        change["override"]: change["effect"]
        for change in changes(MEMORY, 20 * GB, Setting("single", 1, 32, "32-true", checkpointing=False))
    }
    assert found["data.batch_size=16"] == "about 20.0 GB a device"  # 16 GB stay, and half of 8 GB
    assert "model.activation_checkpointing=true" in found
    assert "trainer.precision=bf16-mixed" in found
    assert found["trainer=fsdp trainer.devices=2"].startswith("at most 8.0 GB")  # room for 12 of 16 GB


def test_weights_that_are_too_large_are_sharded() -> None:
    overrides = [c["override"] for c in changes(MEMORY, 10 * GB, Setting("ddp", 2, 4, "bf16-mixed"))]
    assert "trainer=fsdp" in overrides
    assert "trainer=fsdp trainer.devices=7" in overrides  # 14 GB, of which each may have 2
    assert not any("batch_size" in override or "precision" in override for override in overrides)
    overrides = [c["override"] for c in changes(MEMORY, 7 * GB, Setting("fsdp", 2, 4, "bf16-mixed"))]
    assert "trainer=fsdp trainer.devices=7 data.batch_size=1" in overrides  # 32 GB, of which each may have 5


def test_dropout_over_many_devices_and_large_validation() -> None:
    setting = Setting("fsdp", 256, 4, "bf16-mixed", checkpointing=True, dropout=0.1, length=4096)
    found = {c["override"]: c["effect"] for c in changes(MEMORY, 4 * GB, setting)}
    assert "all 256 devices" in found["model.dropout=0"]
    assert "data.length=2048" in found
