"""Under Lightning: ranks, a resume in mid-epoch that is bit-equal, overfitting a few batches on purpose."""

import lightning
import pytest
import torch

from lit_mlfund.data.serving.spec import DataSpec, Field
from lit_mlfund.data.serving.store import PointStore
from lit_mlfund.datamodules import DataModule


class Lines(DataModule):
    def build(self):
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(40, 3, generator=generator)
        self.stores = dict.fromkeys(("train", "val", "test"), PointStore({"numeric": x}, x.sum(1)))
        self.spec = DataSpec("regression", {"numeric": Field("numeric", (3,))})
        self.fitted = getattr(self, "fitted", 1)

    def preprocessing(self):
        return {"fitted": self.fitted}

    def restore(self, state):
        self.fitted = state["fitted"]


class Model(lightning.LightningModule):
    def __init__(self, stop_after=None):
        super().__init__()
        self.layer = torch.nn.Linear(3, 1)
        torch.nn.init.zeros_(self.layer.weight)
        torch.nn.init.zeros_(self.layer.bias)
        self.seen = []
        self.stop_after = stop_after

    def training_step(self, batch, batch_idx):
        self.seen.append(batch.index.tolist())
        return ((self.layer(batch.x["numeric"])[:, 0] - batch.y) ** 2).mean()

    def on_train_batch_end(self, *args):
        if self.stop_after and len(self.seen) == self.stop_after:
            self.trainer.save_checkpoint(self.trainer.default_root_dir + "/middle.ckpt")
            self.trainer.should_stop = True

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=0.1)


def fit(model, path, ckpt=None, **kwargs):
    data = Lines(batch_size=8, seed=5)
    trainer = lightning.Trainer(
        max_epochs=3, default_root_dir=path, logger=False, enable_checkpointing=False, accelerator="cpu",
        enable_progress_bar=False, enable_model_summary=False, **kwargs,
    )  # fmt: skip
    trainer.fit(model, datamodule=data, ckpt_path=ckpt)
    return data


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("stop_after", [3, 5, 7])
def test_a_run_that_was_stopped_ends_where_a_whole_one_does(tmp_path, stop_after):
    whole = Model()
    fit(whole, tmp_path)
    assert len(whole.seen) == 15 and whole.seen[:5] != whole.seen[5:10]
    first = Model(stop_after)
    fit(first, tmp_path)
    second = Model()
    fit(second, tmp_path, ckpt=str(tmp_path / "middle.ckpt"))
    assert first.seen[:stop_after] + second.seen == whole.seen
    assert torch.equal(second.layer.weight, whole.layer.weight)


@pytest.mark.filterwarnings("ignore")
def test_epochs_cut_short_still_differ(tmp_path):
    model = Model()
    fit(model, tmp_path, limit_train_batches=2)
    whole = Model()
    fit(whole, tmp_path)
    assert model.seen == [whole.seen[n] for n in (0, 1, 5, 6, 10, 11)]


@pytest.mark.filterwarnings("ignore")
def test_overfitting_sees_the_same_batches(tmp_path):
    model = Model()
    fit(model, tmp_path, overfit_batches=2)
    assert model.seen[:2] == model.seen[2:4] == model.seen[4:6]


def test_ranks_are_those_of_the_trainer():
    class Trainer:
        global_rank, world_size, overfit_batches, lightning_module = 1, 2, 0, None

    data = Lines(batch_size=8, seed=5)
    data.setup()
    data.trainer = Trainer()
    loader = data.train_dataloader()
    assert (loader.rank, loader.world_size, len(loader)) == (1, 2, 3)
    assert [batch.index[0].item() for batch in data.loader("val")] == [1]


def test_a_checkpoint_with_another_fit_builds_the_stores_anew():
    data = Lines(batch_size=8, seed=5)
    data.setup()
    state, stores = data.state_dict(), data.stores
    data.load_state_dict(state)
    assert data.stores is stores
    data.load_state_dict({**state, "preprocessing": {"fitted": 2}})
    assert data.fitted == 2 and data.stores is not stores


def test_what_a_data_module_does_not_have():
    data = Lines(batch_size=8, seed=5)
    with pytest.raises(NotImplementedError, match="Lines cannot read a new file"):
        data.new_loader("x.csv", need_target=False)


@pytest.mark.parametrize(
    ("name", "width", "size"),
    [("numeric", 3, 2**14), ("numeric", 64, 2**13), ("numeric", 1000, 4096), ("image", 3, 4096)],
)
def test_few_columns_are_measured_in_large_batches(name, width, size):
    data = Lines(batch_size=8, seed=0)
    assert data.serve(PointStore({name: torch.zeros(5, width)}, torch.zeros(5))).batch_size == size
