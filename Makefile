# make run     the app on http://localhost:8501        make test    everything, with its own set-up
# make lint    style and import rules                  make fast    the fast tests only
# make docs    docs/models.md from the models          make bench   timed comparisons (minutes)
# make screenshots   the README's pictures             make clean   remove .venv and caches
VENV := .venv
PYTHON := $(VENV)/bin/python
PORT ?= 8501
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: run test fast lint docs bench screenshots clean chromium
.DEFAULT_GOAL := run

$(PYTHON):
	@found=$$(sh scripts/find_python.sh) && echo "Making $(VENV) with $$found …" && \
	  { "$$found" -m venv $(VENV) || { echo "The virtual environment could not be made. On Debian and Ubuntu: sudo apt-get install python3-venv" >&2; rm -rf $(VENV); exit 1; }; }

# The stamps are the memory of what was installed: a repeated run takes no time until a requirement changes.
$(VENV)/.run-stamp: requirements.txt | $(PYTHON)
	@echo "Installing what the app needs (a few minutes the first time) …"
	@$(PYTHON) -m pip install -q -r requirements.txt
	@touch $@

$(VENV)/.dev-stamp: requirements.txt requirements-dev.txt | $(PYTHON)
	@echo "Installing what the app and its tests need (a few minutes the first time) …"
	@$(PYTHON) -m pip install -q -r requirements-dev.txt
	@touch $@ $(VENV)/.run-stamp

run: $(VENV)/.run-stamp
	@echo "Starting on http://localhost:$(PORT) - stop with Ctrl+C."
	@$(PYTHON) -m streamlit run app.py --server.port $(PORT)

chromium:
	@sh scripts/get_chromium.sh

# One run; tests/conftest.py puts the fast tests first, then the slow ones, then those in a browser.
test: $(VENV)/.dev-stamp chromium
	@$(PYTHON) -m pytest

fast: $(VENV)/.dev-stamp
	@$(PYTHON) -m pytest -m "not slow and not browser"

lint: $(VENV)/.dev-stamp
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@PYTHONPATH=. $(VENV)/bin/lint-imports

docs: $(VENV)/.run-stamp
	@$(PYTHON) -m recsys_core.docs

bench: $(VENV)/.dev-stamp
	@for script in benchmarks/[a-z]*.py; do echo "== $$script"; PYTHONPATH=. $(PYTHON) "$$script" || exit 1; done

screenshots: $(VENV)/.dev-stamp chromium
	@PYTHONPATH=. $(PYTHON) scripts/screenshots.py

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .import_linter_cache
