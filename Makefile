# Everything a fresh machine with Python 3.11 or newer needs: `make demo` runs the main job, `make test` checks everything.

# The interpreter the environment is made with; another one: make test PYTHON=python3.12
PYTHON ?= python3
VENV ?= .venv
OUT ?= results/digits

# uv where it is installed; otherwise a copy in the environment itself.
UV := $(shell command -v uv 2>/dev/null || echo $(VENV)/bin/uv)
RUN := $(VENV)/bin/
export UV_PROJECT_ENVIRONMENT := $(VENV)

.PHONY: demo test lint types contracts fast validate docs data environment clean

demo: environment
	$(RUN)ntkflow run scenarios/digits.yaml --output $(OUT) --overwrite

test: lint types contracts docs
	$(RUN)pytest -n auto --dist loadfile

# The rooms without whole runs: for before a commit.
fast: environment
	$(RUN)pytest -n auto --dist loadfile --ignore tests/experiments --ignore tests/test_cli.py --ignore tests/test_docs.py

lint: environment
	$(RUN)ruff check .
	$(RUN)ruff format --check .

types: environment
	$(RUN)pyright

contracts: environment
	$(RUN)lint-imports

docs: environment
	NO_MKDOCS_2_WARNING=1 $(RUN)mkdocs build --quiet --strict

# Real FashionMNIST for the tests, from Debian's package, where this user may install it. Everywhere else nothing happens,
# and the tests that need it are skipped with their reason.
FASHION := dataset-fashion-mnist
APT := timeout 120 env DEBIAN_FRONTEND=noninteractive apt-get -qq
data:
	@if dpkg -s $(FASHION) >/dev/null 2>&1; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  { $(APT) install -y $(FASHION) || { $(APT) update && $(APT) install -y $(FASHION); }; } >/dev/null 2>&1 || \
	    echo "$(FASHION) could not be installed; its tests will be skipped"; \
	else echo "$(FASHION) is not installed, and cannot be here; its tests will be skipped"; fi

# Slow science, run by hand; its results are recorded in docs/validation.md.
validate: environment
	XLA_FLAGS= $(RUN)pytest -m slow --durations=0

# The stamp is older than the lock file exactly when the environment has to be brought up to date.
environment: $(VENV)/.stamp

$(VENV)/.stamp: uv.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "ntkflow needs Python 3.11 or newer; $(PYTHON) is older. Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@test -x "$(UV)" || { $(PYTHON) -m venv $(VENV) && $(VENV)/bin/python -m pip install --quiet uv; }
	$(UV) sync --quiet --locked --inexact --python $(PYTHON)
	@touch $@

clean:
	rm -rf $(VENV) site results .pytest_cache .ruff_cache .hypothesis .import_linter_cache
