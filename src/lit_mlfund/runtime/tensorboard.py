"""What a finished run adds to its TensorBoard folder: pictures, the verdict, hyper-parameters with the best metrics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

# groups whose values are worth a column in the HParams tab
GROUPS = ("task", "data", "model", "loss", "optim", "schedule", "regularization", "trainer")


def publish(run_dir: Path, config: DictConfig, result: dict[str, Any]) -> None:
    """Add the pictures, the findings and the HParams row of a finished run to its TensorBoard folder, where it has one.

    The HParams tab gets the *best* monitored value and the test metrics, not the last ones of training.
    """
    if not config.logger.get("tensorboard"):
        return
    from matplotlib.image import imread
    from torch.utils.tensorboard import SummaryWriter
    from torch.utils.tensorboard.summary import hparams

    metrics = {f"test/{name}": entry["value"] for name, entry in result["test"].items()}
    objective = result["objective"]
    metrics[f"best/{objective['name']}"] = objective["value"]
    metrics = {name: value for name, value in metrics.items() if value is not None}
    with SummaryWriter(str(run_dir / "tensorboard")) as writer:
        for picture in sorted((run_dir / "pictures").glob("*.png")):
            writer.add_image(f"pictures/{picture.stem}", imread(picture)[..., :3], dataformats="HWC")
        writer.add_text("verdict", _verdict(run_dir))
        for summary in hparams(_flat(config), metrics):
            writer._get_file_writer().add_summary(summary)
        for name, value in metrics.items():
            writer.add_scalar(name, value)


def _verdict(run_dir: Path) -> str:
    findings = (
        json.loads((run_dir / "findings.json").read_text()) if (run_dir / "findings.json").exists() else []
    )
    lines = [f"- **{finding['name']}**: {finding['symptom']}" for finding in findings]
    return "\n".join(lines or ["nothing found that is wrong"])


def _flat(config: DictConfig) -> dict[str, Any]:
    """`optim.lr: 0.001` and the like; nodes appear by the last part of their target."""
    flat: dict[str, Any] = {"seed": config.seed}

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, part in value.items():
                walk(f"{prefix}.{key}", part)
        elif prefix.endswith("._target_"):
            flat[prefix.removesuffix("._target_")] = str(value).rpartition(".")[2]
        elif value is not None:
            flat[prefix] = value if isinstance(value, (bool, int, float, str)) else str(value)

    for group in GROUPS:
        walk(group, OmegaConf.to_container(config[group], resolve=True))
    return flat
