"""data=letor end to end."""

import numpy as np
import pytest
import torch

from lit_mlfund.data.reading.errors import DataError
from lit_mlfund.datamodules import LetorDataModule


def write(path, num_queries, width, seed=0):
    rng = np.random.default_rng(seed)
    with open(path, "w") as file:
        for document in rng.permutation(np.repeat(np.arange(num_queries), rng.integers(2, 9, num_queries))):
            values = " ".join(
                f"{n}:{rng.normal():.4f}" for n in range(1, width + 1) if rng.random() < 0.8 or n == 1
            )
            print(f"{rng.integers(0, 5)} qid:{document} {values} # {document}", file=file)
    return str(path)


def build(**kwargs):
    data = LetorDataModule(batch_size=4, seed=0, **kwargs)
    data.setup()
    return data


def test_one_file_is_split_by_query(tmp_path):
    path = write(tmp_path / "all.txt", 40, 5)
    data = build(path=path)
    lines = [line.split() for line in (tmp_path / "all.txt").read_text().splitlines()]
    seen = set()
    for split in ("train", "val", "test"):
        batch = data.whole(split)
        queries = set()
        for rows, mask, relevance in zip(batch.index, batch.mask, batch.relevance):
            query = {lines[row][1] for row in rows[mask]}
            assert len(query) == 1
            assert [float(lines[row][0]) for row in rows[mask]] == relevance[mask].tolist()
            queries |= query
        assert len(queries) == len(batch) and not queries & seen
        seen |= queries
    assert len(seen) == 40 and data.spec.num_train == len(data.stores["train"])
    assert data.spec.inputs["numeric"].names == ("f1", "f2", "f3", "f4", "f5")


def test_files_of_their_own_with_fewer_or_more_features(tmp_path):
    paths = {
        "path": write(tmp_path / "train.txt", 20, 5),
        "val_path": write(tmp_path / "vali.txt", 6, 3, seed=1),
        "test_path": write(tmp_path / "test.txt", 6, 7, seed=2),
    }
    data = build(**paths)
    assert data.summary["queries"] == {"train": 20, "val": 6, "test": 6}
    absent = data.encoder.features.numeric[4].transform(np.zeros(1))[0]
    val = data.whole("val")
    assert torch.allclose(val.x["numeric"][val.mask][:, 4], torch.tensor(absent, dtype=torch.float32))

    served = LetorDataModule(batch_size=4, seed=0, path="gone.txt")
    served.load_state_dict(data.state_dict())
    loader, frame = served.new_loader(paths["val_path"], need_target=True)
    (batch,) = loader
    assert torch.equal(batch.x["numeric"], val.x["numeric"]) and torch.equal(batch.relevance, val.relevance)
    assert frame.height == int(val.mask.sum())


def test_infinite_and_missing(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text(
        "".join(f"{n % 2} qid:{n // 4} 1:{n} 2:{n % 3 + 1}\n" for n in range(40)).replace("1:5 ", "1:inf ")
    )
    with pytest.raises(DataError, match=r"x.txt .*: column 'f1': infinite values: row 6"):
        build(path=str(path))
    with pytest.raises(DataError, match="no such file"):
        build(path=str(tmp_path / "y.txt"))
