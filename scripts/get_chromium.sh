#!/bin/sh
# Chromium for the browser tests: there already, or from the system's package manager where that is
# allowed without a question. Never fails: without it the browser tests skip and say so.
for candidate in chromium chromium-browser google-chrome google-chrome-stable; do
    command -v "$candidate" >/dev/null 2>&1 && exit 0
done
if ! command -v apt-get >/dev/null 2>&1; then
    echo "No Chromium found and no apt-get to install it with: the browser tests will be skipped. Install Chromium to run them."
    exit 0
fi
if [ "$(id -u)" = 0 ]; then
    as_root=""
elif sudo -n true >/dev/null 2>&1; then
    as_root="sudo -n"
else
    echo "No Chromium found, and installing it needs root: the browser tests will be skipped. To run them: sudo apt-get install chromium"
    exit 0
fi
echo "Installing Chromium for the browser tests …"
export DEBIAN_FRONTEND=noninteractive
if $as_root apt-get update -qq >/dev/null 2>&1 && $as_root apt-get install -y -qq --no-install-recommends chromium </dev/null >/dev/null 2>&1; then
    exit 0
fi
echo "Chromium could not be installed with apt-get: the browser tests will be skipped."
exit 0
