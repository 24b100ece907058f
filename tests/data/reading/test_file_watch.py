"""Files that change during a run are reported, once each."""

import os
import warnings

import pytest

from lit_mlfund.data.reading.file_watch import Signature, Watch


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / "a.csv", tmp_path / "b.csv"]
    for path in paths:
        path.write_text("x,y\n1,2\n")
    return paths


def test_each_change_is_reported_once(files):
    watch = Watch()
    watch.add(*(Signature.of(str(path)) for path in files))
    watch()
    assert watch.changes == []
    files[1].write_text("x,y\n1,3\n3,4\n")
    with pytest.warns(UserWarning, match=r"b.csv has 12 bytes instead of 8 since this run read it"):
        watch()
    os.utime(files[0], ns=(1, 1))
    with pytest.warns(UserWarning, match=r"a.csv was written to since"):
        watch()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        watch()
    assert [change.split(" ")[0] for change in watch.changes] == [str(files[1]), str(files[0])]


def test_a_run_that_is_resumed_on_other_rows(files):
    earlier = [Signature.of(str(path)).to_dict() for path in files]
    os.utime(files[0], ns=(1, 1))  # the same bytes
    files[1].write_text("x,y\n1,3\n")
    watch = Watch()
    watch.add(*(Signature.of(str(path)) for path in files))
    with pytest.warns(UserWarning, match=r"b.csv has changed since the run was interrupted"):
        watch.compare([*earlier, {**earlier[0], "path": "/gone"}])
    assert len(watch.changes) == 1


@pytest.mark.parametrize("size", [3000, 4096, 50_000, 10_000_000])
@pytest.mark.parametrize("place", ["first", "last"])
def test_a_byte_at_either_end_of_a_file_counts(tmp_path, size, place):
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(size))
    earlier = Signature.of(str(path))
    with open(path, "r+b") as file:
        file.seek(0 if place == "first" else size - 1)
        file.write(b"x")
    now = Signature.of(str(path))
    assert now.size == earlier.size == size and now.probes != earlier.probes
