"""Runs the command line: `python -m lit_mlfund` is `mlfund`."""

import sys

from lit_mlfund.cli import main

sys.exit(main())
