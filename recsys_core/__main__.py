"""`python -m recsys_core …`: everything the app does, without a browser."""

from __future__ import annotations

import signal
import sys

from .cli import main

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite kill tidies up like Ctrl-C
    sys.exit(main())
