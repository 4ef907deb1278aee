# Two commands are enough on a machine with Python 3.11, make and a compiler:
#   make demo    environment, install, train on embedded data, evaluate
#   make test    the tests that take seconds
# VENV and PYTHON may be given: make test VENV=/tmp/venv PYTHON=python3.12

PYTHON ?= $(shell command -v python3.11 || command -v python3 || command -v python)
VENV ?= .venv
JOBS ?= 2
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO_DIR ?= runs/digits/demo

.PHONY: help install demo test test-all soak check format bench bench-checkpoint bench-peers recipes seed-report clean

help:
	@echo "make demo         train and evaluate on the digits that come with scikit-learn"
	@echo "make test         the quick tests"
	@echo "make test-all     every test"
	@echo "make soak         the full crosses that take long: batches made in every way there is"
	@echo "make check        lint, format, types, import contracts"
	@echo "make format       let ruff rewrite the files"
	@echo "make bench        start-up and loop cost, one table each"
	@echo "make bench-checkpoint  what saving 100 MB every 20 steps costs (minutes)"
	@echo "make bench-peers  the same near-empty step in other frameworks (installs them)"
	@echo "make recipes      every config of apps/ at full length, its results into the docs (long)"
	@echo "make seed-report  which feature rows have a test"
	@echo "make clean        remove what the other targets made"

install: $(STAMP)

# The stamp is newer than what decides the environment, so a second run skips the install.
$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || { echo "creating $(VENV) with $(PYTHON)"; "$(PYTHON)" -m venv "$(VENV)"; }
	@echo "installing cvtrainer and its tested dependencies into $(VENV) (minutes the first time)"
	@"$(BIN)/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test]"
	@touch $@

# One thread: pictures this small give a second one nothing to do, and on a busy machine it costs much.
demo: $(STAMP)
	@OMP_NUM_THREADS=1 "$(BIN)/python" -m cvtrainer.cli train --config apps/digits/train.yaml \
		--run_dir $(DEMO_DIR)
	@"$(BIN)/python" -m cvtrainer.cli eval --config apps/digits/eval.yaml \
		--checkpoint $(DEMO_DIR)/checkpoints/best_model.pth
	@echo
	@echo "Trained and evaluated on handwritten digits. What came out, in $(DEMO_DIR):"
	@ls $(DEMO_DIR) | sed 's/^/  /'

test: $(STAMP)
	"$(BIN)/python" -m pytest -n $(JOBS) --dist worksteal -m "not long and not soak"

test-all: $(STAMP)
	"$(BIN)/python" -m pytest -n $(JOBS) --dist worksteal -m "not soak"

soak: $(STAMP)
	"$(BIN)/python" -m pytest -n $(JOBS) -m soak

check: $(STAMP)
	"$(BIN)/python" -m ruff check .
	"$(BIN)/python" -m ruff format --check .
	"$(BIN)/python" -m mypy
	"$(BIN)/lint-imports"

format: $(STAMP)
	"$(BIN)/python" -m ruff check --fix .
	"$(BIN)/python" -m ruff format .

bench: $(STAMP)
	"$(BIN)/python" -m benchmarks.startup
	"$(BIN)/python" -m benchmarks.loop_overhead

bench-checkpoint: $(STAMP)
	"$(BIN)/python" -m benchmarks.checkpoint

bench-peers: $(STAMP)
	"$(BIN)/python" -m benchmarks.peers.run

recipes: $(STAMP)
	"$(BIN)/python" -m benchmarks.recipes --write

seed-report: $(STAMP)
	@"$(BIN)/python" -m pytest --seed-report -q

clean:
	rm -rf "$(VENV)" build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
