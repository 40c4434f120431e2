"""`python -m recsys_core …`: everything the app does, without a browser."""

from __future__ import annotations

import os
import signal
import sys

from .cli import main

if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when numpy and torch are first imported: see jobs/process.py
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite kill tidies up like Ctrl-C
    sys.exit(main())
