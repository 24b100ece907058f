"""Runs as a watcher: `-m lit_mlfund.cluster.watching <settings>`."""

from __future__ import annotations

import json
import signal
import sys

from lit_mlfund.cluster.first_watcher import FirstWatcher
from lit_mlfund.cluster.other_watcher import OtherWatcher


def main(arguments: list[str]) -> None:
    """Watch with these settings; signals are for the process, not for its watcher."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    settings = json.loads(arguments[0])
    watcher = OtherWatcher(settings) if settings["rank"] else FirstWatcher(settings)
    watcher.run()


if __name__ == "__main__":
    main(sys.argv[1:])
