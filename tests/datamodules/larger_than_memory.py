"""Run as a program: train on a table under a watch of this process's own memory, and print what was seen.

Memory is that of `RssAnon`: pages of mapped files are the system's, which takes them back when it needs them.
"""

import json
import os
import sys
import threading
import time

from lit_mlfund.data.disk import streaming_fit
from lit_mlfund.data.reading import scan
from lit_mlfund.data.reading.read import scan_table
from lit_mlfund.datamodules import TableDataModule


def own_memory() -> int:
    """Bytes that this process holds for itself."""
    with open("/proc/self/status") as status:
        return next(1024 * int(line.split()[1]) for line in status if line.startswith("RssAnon"))


class Watch(threading.Thread):
    """Keeps the greatest memory that it sees."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self.going = True

    def run(self) -> None:
        while self.going:
            self.peak = max(self.peak, own_memory())
            time.sleep(0.002)


def main(path: str, root: str) -> None:
    scan.MAX_ROWS, streaming_fit.SAMPLE_ROWS = 2**11, (2**11, 2**11)  # in proportion to the small limit
    ending = path.rpartition(".")[2]
    warm = os.path.join(root, f"warm.{ending}")
    schema, batches = scan_table(path)
    few = next(iter(batches(list(schema), 3000)))
    {"parquet": few.write_parquet, "csv": few.write_csv, "arrow": few.write_ipc}[ending](warm)
    del few
    for file in (warm, path):  # the first one loads the libraries' own pools
        before, watch = own_memory(), Watch()
        watch.start()
        data = TableDataModule(batch_size=512, seed=0, task="binary", path=file, target="y", cache=root)
        data.setup()
        rows = sum(len(batch) for batch in data.train_dataloader())
        rows += sum(len(batch) for split in ("val", "test") for batch in data.loader(split))
        watch.going = False
        watch.join()
    print(json.dumps({"rows": rows, "grown": watch.peak - before}))


if __name__ == "__main__":
    main(*sys.argv[1:])
