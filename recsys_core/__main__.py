"""`python -m recsys_core …`: everything the app does, without a browser."""

from __future__ import annotations

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
