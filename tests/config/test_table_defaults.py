"""A table of one's own has the model, the length and the monitor that were chosen for tables."""

from __future__ import annotations

from typing import Any

import pytest

from lit_mlfund.config.compose import Composer

TABLE = ("data=table", "data.path=own.csv", "data.target=y")
MEMBERS, LISTS = "lit_mlfund.models.TabM", "lit_mlfund.models.ListMLP"


def compose(*lines: str) -> dict[str, Any]:
    composed = Composer().compose(lines)
    assert composed.problems == []
    return composed.config


@pytest.mark.parametrize(
    "lines, model, monitor",
    [
        (("task=binary",), MEMBERS, "val/log_loss"),
        (("task=multiclass",), MEMBERS, "val/log_loss"),
        (("task=regression",), MEMBERS, "val/rmse"),
        (("task=ranking", "data.query=q"), LISTS, "val/ndcg@10"),
        (("task=binary", "model=mlp", "monitor=val/auroc"), "lit_mlfund.models.MLP", "val/auroc"),
    ],
)
def test_model_and_monitor(lines: tuple[str, ...], model: str, monitor: str) -> None:
    config = compose(*TABLE, *lines)
    assert config["model"]["_target_"] == model and config["monitor"] == monitor
    assert config["trainer"]["max_epochs"] == config["optim"]["lr"] == "by_rows"
    assert config["data"]["batch_size"] is None


def test_other_data_keep_theirs() -> None:
    config = compose("task=binary")
    assert config["model"]["_target_"] == "lit_mlfund.models.MLP" and config["monitor"] == "val/auroc"
    assert (config["trainer"]["max_epochs"], config["optim"]["lr"], config["optim"]["weight_decay"]) == (
        3,
        1e-3,
        1e-2,
    )
