#!/bin/sh
# Print a Python that is at least 3.11 (3.11 itself first), or say in one sentence what is missing.
for candidate in python3.11 python3 python; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
        command -v "$candidate"
        exit 0
    fi
done
echo "Python 3.11 or newer is needed and was not found. Install it (https://www.python.org/downloads/), then run make again." >&2
exit 1
