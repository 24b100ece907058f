"""From overrides to a checked configuration, or to everything that is wrong with it at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra._internal.hydra import Hydra

from lit_mlfund.config.catalog import catalog
from lit_mlfund.config.compose import Composer
from lit_mlfund.config.errors import ConfigError

WriteTree = Callable[[Path, dict[str, str]], Path]


def problems(*lines: str, config_dir: Path | None = None) -> list[str]:
    """What is wrong with a command line."""
    return Composer(str(config_dir) if config_dir else None, lines).compose(lines).problems


def config(*lines: str, config_dir: Path | None = None) -> dict:
    """The configuration of a command line that has nothing wrong."""
    return Composer(str(config_dir) if config_dir else None, lines).checked(lines).config


def test_a_task_alone_is_complete(house: Path) -> None:
    composed = config("task=regression")
    assert composed["loss"]["_target_"] == "lit_mlfund.losses.MSE"
    assert composed["name"] == "regression"
    assert composed["data"]["seed"] == 0
    assert composed["optim"]["lr"] == 1e-3  # YAML's 1e-3 is a number


def test_all_problems_at_once(house: Path) -> None:
    assert problems(
        "optim.weigth_decay=1",
        "+sede=3",
        "++loss.gama=3",
        "lr=3",
        "seed=-1",
        "monitor=val/auc",
        "trainer.devices=0",
        "trainer.max_epochs=x",
        "model.activation=rleu",
        "callbacks.early_stopping.patence=3",
        "logger.tensorbord=true",
        "name=a/b",
        "~data.tim",
    ) == [
        "~data.tim: there is no data.tim; did you mean time?",
        "sede: unknown; did you mean seed?",
        "lr: unknown; did you mean optim.lr?",
        "loss.gama: unknown; known: pos_weight, label_smoothing",
        "optim.weigth_decay: unknown; did you mean weight_decay?",
        "model.activation: expected one of relu, gelu, got rleu; did you mean relu?",
        "trainer.max_epochs: expected int, got x (text)",
        "callbacks.early_stopping.patence: unknown; did you mean patience?",
        "logger.tensorbord: unknown; did you mean tensorboard?",
        "monitor: val/auc is not measured for task=binary; did you mean val/auroc?",
        "seed: expected 0 … 4294967295, got -1",
        "name: 'a/b' cannot be part of a folder's name; use letters, digits and any of -_.+=@",
        "trainer.devices: expected a number from 1 on or auto, got 0",
    ]


def test_a_parameter_that_no_file_spells_out_can_be_set(house: Path) -> None:
    composed = config("model.activation=gelu", "optim.betas=[0.8,0]")
    assert composed["model"]["activation"] == "gelu"
    assert composed["optim"]["betas"] == [0.8, 0.0]


def test_unknown_options_do_not_hide_other_problems(house: Path) -> None:
    reported = problems("task=regresion", "loss=hubber", "optim.weigth_decay=1", "loss.delta=x")
    assert reported == [
        "task: there is no task=regresion; did you mean regression?",
        "loss: there is no loss=hubber; did you mean huber?",
        "loss.delta: expected float, got x (text)",  # under the loss that was meant
        "optim.weigth_decay: unknown; did you mean weight_decay?",
    ]


def test_nothing_is_reported_below_an_option_that_cannot_be_guessed(house: Path) -> None:
    assert problems("loss=zzz", "loss.delta=3", "optim.weigth_decay=1") == [
        "loss: there is no loss=zzz; known: bce, composite, huber, lambdarank, mse",
        "optim.weigth_decay: unknown; did you mean weight_decay?",
    ]
    assert problems("task=zzz", "loss=mse", "sede=3") == [
        "task: there is no task=zzz; known: binary, ranking, regression",
        "sede: unknown; did you mean seed?",
    ]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("nonsense", "nonsense: cannot be read; expected key=value"),
        ("optim.betas=[1,2", "optim.betas=[1,2: cannot be read; check its brackets, quotes and commas"),
        ("data.decimal=,", "data.decimal=,: cannot be read; say data.decimal=comma"),
        ("data.thousands='", "data.thousands=': cannot be read; say data.thousands=apostrophe"),
        ("name='x", "name='x: cannot be read; check its brackets, quotes and commas"),
        (
            "seed=1,2",
            r"seed=1,2: for a sweep add -m; a list is written seed=[1,2], a text seed=\'1,2\'",
        ),
        ("++loss=mse", "++loss=mse: loss is a group; choose its option with loss=mse"),
        ("loss@x=mse", "Could not override 'loss@x'. Did you mean to override loss?"),
        ("los@x=mse", "los@x=mse: there is no group los; did you mean loss?"),
        ("los=mse", "los: unknown; did you mean loss?"),
        ("loss._target_=lit_mlfund.losses.MSEE", "there is no MSEE in lit_mlfund.losses; did you mean MSE?"),
        ("loss._target_=null", "loss._target_: expected the dotted path of a class or function"),
        ("~loss", "loss is required: choose one of bce, composite, huber, lambdarank, mse with loss=…"),
        ("~monitor", "monitor is required: pass monitor=…"),
        ("~seed=3", "~seed=3: seed is 0"),
        ("~data.path", "data.path is required: pass data.path=…"),
        ("data=own", "data.path is required: pass data.path=…"),
        ("model.spec=3", "model.spec: is given by the program; leave it out"),
        ("name=${tsk.name}", "name: Interpolation key 'tsk.name' not found"),
        ("seed=${oc.env:MLFUND_NO_SUCH}", "Environment variable 'MLFUND_NO_SUCH' not found"),
        ("callbacks.mine.patience=3", "callbacks.mine: has no _target_, so nothing would be built from it"),
        ("optim=null", "optim is required: choose one of adamw with optim=…"),
        ("train=yes please", "train: expected true or false, got yes please (text)"),
        ("seed=1.5", "seed: expected int, got 1.5"),
        ("loss=[]", "loss"),
    ],
)
def test_each_problem_has_its_message(house: Path, line: str, problem: str) -> None:
    try:
        reported = problems(line)
    except ConfigError as error:
        reported = error.problems
    assert any(problem in line for line in reported), reported


def test_text_that_hydra_wants_quoted_is_taken_as_it_is(house: Path) -> None:
    assert config("data.path=/data/day=1 (2) & ü.csv")["data"]["path"] == "/data/day=1 (2) & ü.csv"
    assert config("data.path='a,b.csv'")["data"]["path"] == "a,b.csv"


def test_environment_variables_are_put_into_type(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LR", "1e-2")
    assert config("optim.lr=${oc.env:LR}")["optim"]["lr"] == 1e-2


def test_what_is_deleted_is_gone(house: Path) -> None:
    assert "time" not in config("~data.time")["data"]
    assert "schedule" not in config("schedule=null")
    assert "early_stopping" not in config("~callbacks.early_stopping")["callbacks"]


def test_experiments_choose_options_and_values(house: Path) -> None:
    composed = config("experiment=tilted", "debug=fast")
    assert composed["shape"] == "regression"
    assert composed["optim"]["lr"] == 0.5
    assert composed["trainer"]["max_epochs"] == 1


def test_records_inside_values_are_checked(house: Path) -> None:
    reported = problems("loss=composite", "loss.parts.first.wieght=3", "loss.parts.third.weight=heavy")
    assert reported == [
        "loss.parts.first.wieght: unknown; did you mean weight?",
        "loss.parts.third.weight: expected float, got heavy (text)",
        "loss.parts.third.loss is required: pass loss.parts.third.loss=…",
    ]
    assert problems("loss=composite", "loss.parts.first.loss.label_smothing=1") == [
        "loss.parts.first.loss.label_smothing: unknown; did you mean label_smoothing?"
    ]


# --- files of other projects ------------------------------------------------------------------------------


def test_a_further_folder_adds_options_and_groups(house: Path, tmp_path: Path, write_tree: WriteTree) -> None:
    own = {
        "loss/tilted": "_target_: mine_compose.Tilted\ndelta: 2",
        "audit/full": "node: {_target_: mine_compose.Tilted, dleta: 1}\nlevel: ???",
    }
    folder = write_tree(tmp_path / "own", own)
    (tmp_path / "mine_compose.py").write_text(
        "from torch import nn\nclass Tilted(nn.Module):\n    def __init__(self, delta: float = 1.0): ...\n"
    )
    sys.path.insert(0, str(tmp_path))
    try:
        assert config("loss=tilted", config_dir=folder)["loss"]["delta"] == 2.0
        assert problems("loss=tilted", "loss.dleta=3", "+audit=full", config_dir=folder) == [
            "loss.dleta: unknown; did you mean delta?",
            "audit.node.dleta: unknown; did you mean delta?",
            "audit.level is required: pass audit.level=…",
        ]
        assert config("loss=tilted", f"hydra.searchpath=[file://{folder}]")["loss"]["delta"] == 2.0
    finally:
        sys.path.remove(str(tmp_path))


def test_a_package_adds_options_by_entry_point(
    house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_tree: WriteTree
) -> None:
    write_tree(
        tmp_path / "site" / "addon_package" / "conf", {"loss/added": "_target_: lit_mlfund.losses.BCE"}
    )
    (tmp_path / "site" / "addon_package" / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path / "site")
    point = SimpleNamespace(name="addon", value="addon_package.conf")
    monkeypatch.setattr(
        "importlib.metadata.entry_points", lambda group: [point] if "lit_mlfund" in group else []
    )
    assert config("loss=added")["loss"]["_target_"] == "lit_mlfund.losses.BCE"


def test_packages_are_asked_in_the_order_of_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in that of the file system: of two errors the same comes first on every machine."""
    points = [SimpleNamespace(name=name, value=f"no_{name}.conf") for name in ("c", "a", "b")]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: points)
    with pytest.raises(ConfigError) as error:
        catalog()
    assert error.value.problems == [
        f"entry point {name}: there is no folder pkg://no_{name}.conf" for name in "abc"
    ]


def test_other_projects_cannot_shadow_ours(house: Path, tmp_path: Path, write_tree: WriteTree) -> None:
    folder = write_tree(tmp_path / "own", {"loss/mse": "_target_: x.Y", "train": "seed: 3"})
    assert problems(config_dir=folder) == [
        f"{folder}/loss/mse.yaml: lit_mlfund has a loss/mse.yaml already; give yours another name",
        f"{folder}/train.yaml: lit_mlfund has a train.yaml already; give yours another name",
    ]


def test_folders_that_do_not_exist(house: Path) -> None:
    with pytest.raises(ConfigError) as error:
        Composer("nowhere", ["hydra.searchpath=[pkg://no_such_package.conf,file:///nowhere]"])
    assert error.value.problems == [
        "--config-dir: there is no folder nowhere",
        "hydra.searchpath: there is no folder pkg://no_such_package.conf",
        "hydra.searchpath: there is no folder file:///nowhere",
    ]


def test_a_damaged_file_is_one_message(house: Path) -> None:
    (house / "loss" / "bce.yaml").write_text("_target_: [")
    with pytest.raises(ConfigError) as error:
        problems()
    assert "bce.yaml" in str(error.value)
    assert len(error.value.problems) == 1


def test_a_failing_check_does_not_import_torch() -> None:
    code = (
        "import sys\nfrom lit_mlfund.config.compose import Composer\n"
        "lines = ['task=binary', 'optim.weigth_decay=1', 'loss=msee', '+loss.x=1']\n"
        "assert Composer(None, lines).compose(lines).problems\n"
        "print([name for name in ('torch', 'lightning', 'numpy', 'sklearn') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "lines",
    [
        ["seed=3", "optim.lr=0.3"],
        ["task=regression", "loss=huber", "loss.delta=2", "optim.betas=[0.8,0.9]"],
        ["loss=huber", "task=regression", "schedule=null", "data.extra=${seed}"],
        ["task=regression", "data=own", "data.path=x.csv", "~data.batch_size", "name=${model.hidden}"],
    ],
)
def test_values_are_put_into_what_the_same_files_gave_before(house: Path, lines: list[str]) -> None:
    composer = Composer()
    composer.compose([*lines, "model.dropout=0.5", "seed=9", "optim.lr=7"])
    again, alone = composer.compose(lines), Composer().compose(lines)
    assert again.config == alone.config
    assert again.problems == alone.problems
    assert list(again.hydra.overrides.task) != []


def test_combinations_of_values_are_composed_once(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    compose = Hydra.compose_config
    monkeypatch.setattr(Hydra, "compose_config", lambda *a, **k: calls.append(k) or compose(*a, **k))
    composer = Composer()
    for seed in range(5):
        assert composer.checked([f"seed={seed}", "model.dropout=0.1"]).config["seed"] == seed
    assert len(calls) == 1
    composer.checked(["task=regression"])
    assert len(calls) == 2
