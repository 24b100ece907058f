"""Measure a trained module, and the references beside it, on the same rows by the same code."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from lightning.pytorch import Trainer
from torch import Tensor

from lit_mlfund.atomic import whole_file, write_text
from lit_mlfund.data.serving.batch import Inputs
from lit_mlfund.data.serving.mapped import SAMPLE_ROWS, Mapped, MappedListStore, MappedStore
from lit_mlfund.data.serving.store import ListStore, PointStore
from lit_mlfund.data.serving.token_windows import WindowStore
from lit_mlfund.datamodules import DataModule, RetrievalDataModule
from lit_mlfund.metrics import Evaluation, evaluate_retrieval, positive_ranks
from lit_mlfund.modules import NextTokenModule, TaskModule

ScoreBlock = Callable[[int, int], Tensor]
Measured = dict[str, dict[str, float]]  # metric -> value, low, high
SPLITS = ("val", "test")
REFERENCE_SPLITS = ("test",)  # the validation split has chosen the model: no place for a comparison


def measure_splits(
    trainer: Trainer,
    module: TaskModule,
    data: DataModule,
    checkpoint: str | None,
    splits: tuple[str, ...] = SPLITS,
) -> dict[str, Measured]:
    """Every metric of the splits with its interval, from `checkpoint` or from the weights as they are."""
    measured = {}
    for split in splits:
        run = trainer.validate if split == "val" else trainer.test
        run(module, datamodule=data, ckpt_path=checkpoint, verbose=False, weights_only=True)
        measured[split] = intervals(module.evaluations[split])
    return measured


def intervals(evaluation: Evaluation) -> Measured:
    """Plain numbers of an evaluation: metric -> value, low, high."""
    return {name: interval.to_dict() for name, interval in evaluation.intervals().items()}


def measure_references(module: TaskModule, data: DataModule, seed: int) -> dict[str, dict[str, Measured]]:
    """Reference -> split -> metric -> value, low, high, on the rows that the module was measured on."""
    measure = _measure_rankers if module.task == "retrieval" else _measure_fitted
    if isinstance(data.stores["train"], WindowStore):
        measure = _measure_texts
    measured: dict[str, dict[str, Measured]] = {}
    for name, split, evaluation in measure(module, data, seed):
        measured.setdefault(name, {})[split] = intervals(evaluation)
    return measured


def _measure_fitted(module: TaskModule, data: DataModule, seed: int) -> list[tuple[str, str, Evaluation]]:
    """References that are fitted on the rows of the training split."""
    # scikit-learn: nothing for the start of a run
    from lit_mlfund.references.fit import point_references, ranking_references

    train = data.stores["train"]
    stores: dict[str, Any] = {split: data.stores[split] for split in REFERENCE_SPLITS}
    blocks = _Blocks(stores)
    if isinstance(train, (MappedStore, MappedListStore)):
        train = train.sample(SAMPLE_ROWS, seed)
    if isinstance(train, PointStore):
        outputs = point_references(data.spec, (train.x, train.y.numpy()), blocks, seed)
    elif isinstance(train, ListStore):
        outputs = ranking_references(data.spec, train, blocks, seed)
    else:
        raise TypeError(f"no reference models for a {type(train).__name__}")
    for split, store in stores.items():
        _check_same_rows(module, split, store)
    return [
        (
            name,
            split,
            module.evaluate({**module.collected[split], "output": _like(module, split, output)}, split),
        )
        for name, by_split in blocks.join(outputs).items()
        for split, output in by_split.items()
    ]


def _measure_texts(module: TaskModule, data: DataModule, seed: int) -> list[tuple[str, str, Evaluation]]:
    """References that continue the text of a split from the counts of the training text."""
    from lit_mlfund.references.ngrams import token_references

    train, found = data.stores["train"], []
    for split in REFERENCE_SPLITS:
        collected, store = module.collected[split], data.stores[split]
        assert isinstance(train, WindowStore) and isinstance(store, WindowStore)
        tokens = store.tokens.numpy()
        mask = collected["mask"]
        if not np.array_equal(collected["target"][mask].cpu().numpy(), tokens[1:]):
            raise RuntimeError(f"the {split} split was measured on other tokens than its store holds")
        references = token_references(train.tokens.numpy(), tokens, data.spec.num_classes)
        for name, (log_probability, prediction) in references.items():
            output = torch.zeros(mask.shape).masked_scatter(mask.cpu(), torch.from_numpy(log_probability[1:]))
            said = torch.zeros(mask.shape, dtype=torch.int32)
            said = said.masked_scatter(mask.cpu(), torch.from_numpy(prediction[1:]).int())
            told = {"output": output.to(mask.device), "prediction": said.to(mask.device)}
            found.append((name, split, module.evaluate({**collected, **told}, split)))
    return found


class _Blocks(Mapping[str, Inputs]):
    """The inputs of stores, those of a mapped one in blocks, each read when it is asked for."""

    def __init__(self, stores: dict[str, PointStore | ListStore]):
        self.stores = stores
        self.places = {
            f"{split} {start}": (split, start)
            for split, store in stores.items()
            for start in (range(0, store.num_rows, SAMPLE_ROWS) if isinstance(store, Mapped) else [0])
        }

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __getitem__(self, block: str) -> Inputs:
        split, start = self.places[block]
        store = self.stores[split]
        return store.inputs(start, start + SAMPLE_ROWS) if isinstance(store, Mapped) else store.x

    def join(self, outputs: dict[str, dict[str, np.ndarray]]) -> dict[str, dict[str, np.ndarray]]:
        """Name -> block -> outputs, as name -> split -> outputs."""
        parts: dict[str, dict[str, list[np.ndarray]]] = {
            name: {split: [] for split in self.stores} for name in outputs
        }
        for name, by_block in outputs.items():
            for block, (split, _) in self.places.items():
                parts[name][split].append(by_block[block])
        return {
            name: {split: np.concatenate(found) for split, found in by_split.items()}
            for name, by_split in parts.items()
        }


def _check_same_rows(module: TaskModule, split: str, store: PointStore | ListStore) -> None:
    """A reference on rows in another order would look like a weak one; better to stop."""
    evidence = module.collected[split]
    target = evidence["target"][evidence["mask"]] if "mask" in evidence else evidence["target"]
    expected = store.relevance if isinstance(store, ListStore) else store.y
    if not torch.equal(target.cpu(), expected.cpu()):
        raise RuntimeError(f"the {split} split was measured on other rows than its store holds")


def _like(module: TaskModule, split: str, output: np.ndarray) -> Tensor:
    """Reference outputs in the form of the module's: lists padded to the same width."""
    evidence = module.collected[split]
    values = torch.as_tensor(output, dtype=torch.float32)
    if "mask" not in evidence:
        return values
    padded = torch.zeros(evidence["mask"].shape)
    padded[evidence["mask"].cpu()] = values
    return padded.to(evidence["mask"].device)


def _measure_rankers(module: TaskModule, data: DataModule, seed: int) -> list[tuple[str, str, Evaluation]]:
    """References that rank the corpus without embeddings: at random, by popularity, by words."""
    assert isinstance(data, RetrievalDataModule)
    found = []
    for split in REFERENCE_SPLITS:
        target = module.collected[split]["target"].cpu()
        num_items = data.pairs(split).num_items
        for name, score_block in _rankers(data, split, num_items, seed).items():
            ranks = positive_ranks(score_block, len(target), num_items, target, exclude=data.seen(split))
            found.append((name, split, evaluate_retrieval(ranks)))
    return found


def _rankers(data: RetrievalDataModule, split: str, num_items: int, seed: int) -> dict[str, ScoreBlock]:
    """Name -> the scores `[stop - start, num_items]` of the queries start … stop - 1."""

    def random(start: int, stop: int) -> Tensor:
        return torch.rand(stop - start, num_items, generator=torch.Generator().manual_seed(seed + start))

    rankers: dict[str, ScoreBlock] = {"random": random}
    popularity = data.popularity(split)
    if popularity is not None:
        rankers["popularity"] = lambda start, stop: popularity.float().expand(stop - start, -1)
    texts = data.texts(split)
    if texts is not None:
        from lit_mlfund.references.bm25 import BM25

        queries, documents = texts
        bm25 = BM25(documents)
        rankers["bm25"] = lambda start, stop: torch.from_numpy(bm25.scores(queries[start:stop]))
    return rankers


def write_predictions(folder: Path, module: TaskModule) -> None:
    """One Parquet file per measured split: the row of the file, the target, and what the model says.

    A language model also writes a text of its own, `sample.txt`.
    """
    folder.mkdir(exist_ok=True)
    if isinstance(module, NextTokenModule) and (text := module.sample()):
        write_text(folder / "sample.txt", text)
    for split, evidence in module.collected.items():
        with whole_file(folder / f"{split}.parquet") as path:
            prediction_table(module, evidence).write_parquet(path)


def prediction_table(module: TaskModule, evidence: dict[str, Tensor]) -> pl.DataFrame:
    """One row per document of a list, position of a text, row of a table: place, target, what the model says."""
    columns: dict[str, Any] = {}
    if "mask" in evidence:
        mask = evidence["mask"]
        group = "query" if module.task == "ranking" else "window"
        columns[group] = evidence["index"][:, None].expand_as(mask)[mask].cpu().numpy()
        columns["row"] = (evidence["row"][mask] - 1).cpu().numpy()
        target = evidence["target"][mask].cpu()
    else:
        if "index" in evidence:
            columns["row"] = evidence["index"].cpu().numpy()
        target = evidence["target"].cpu()
    if module.task in ("binary", "multiclass"):
        columns["label"] = [module.spec.classes[code] for code in target.long().tolist()]
    columns["target"] = target.numpy()
    return pl.DataFrame({**columns, **module.predictions(evidence)})
