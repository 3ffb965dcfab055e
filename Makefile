# `make` shows the targets. Everything is installed into .venv, from requirements.lock.
PYTHON ?= python3
VENV = .venv
BIN = $(VENV)/bin

# What `make results` and `make retrain` pass on: make results PROFILE=smoke ONLY="layers ema" SEEDS="0 1" DATA=folder
PROFILE = quick
ONLY =
SEEDS =
DATA =
RERUN = $(BIN)/trm-rerun --profile $(PROFILE) $(if $(ONLY),--only $(ONLY)) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(DATA),--data $(DATA))

SECONDS = 5

.PHONY: help install results retrain bench test lab book export readme lock clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-8s  %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo 'make results PROFILE=smoke ONLY="layers ema" SEEDS="0 1" DATA=folder  (each is optional; retrain takes them too)'

install: $(VENV)/installed  ## install what requirements.lock names, each file checked, and the package, into .venv

results: install  ## draw every table and picture; train what has no record yet
	$(RERUN)

retrain: install  ## the same, but train everything again
	$(RERUN) --force

bench: install  ## measure speed and memory on this machine, into results/bench
	$(BIN)/trm-bench --seconds $(SECONDS)

# Two notebooks or files of tests run at a time, so each gets one thread. pytest comes last: its summary closes the output.
test: install  ## lint, types, notebooks, tests
	$(BIN)/ruff format --check nbs setup.py tools tests
	$(BIN)/ruff check nbs setup.py tools trm_nbdev tests
	$(BIN)/mypy
	env -u TRM_DATA -u TRM_RETRAIN_BEFORE -u TRM_TENSORBOARD OMP_NUM_THREADS=1 $(BIN)/nbdev_test --n_workers 2 --do_print --timing
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --durations 20

lab: install  ## read the book in JupyterLab
	$(BIN)/jupyter lab --LabApp.default_url=/lab/tree/nbs/index.ipynb

# The order of sets must not change a byte.
book: install  ## build the book as a static site in _docs, from the notebooks and their outputs; nothing is executed
	PYTHONHASHSEED=0 $(BIN)/python tools/book

export: install  ## lay out the notebooks' code, write trm_nbdev/ from them, and clean them
	$(BIN)/ruff format nbs
	$(BIN)/nbdev_export
	$(BIN)/nbdev_clean

readme: install  ## write README.md from nbs/index.ipynb
	$(BIN)/python tools/readme.py

# A changed settings.ini may contradict the lock, so where the lock has been installed once, it is not installed again.
lock:  ## install what settings.ini asks for and .venv lacks, then write requirements.lock and DEPENDENCIES.md from .venv
	test -e $(VENV)/locked || $(MAKE) install
	$(BIN)/python -m pip install --no-build-isolation --editable '.[dev]'
	$(BIN)/python tools/lock.py

clean:  ## remove .venv and everything that building and testing left behind; results stay
	rm -rf $(VENV) _docs build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache results/smoke
	find nbs tests tools trm_nbdev -name __pycache__ -prune -exec rm -rf {} + -o -name .ipynb_checkpoints -prune -exec rm -rf {} +

$(VENV)/installed: requirements.lock settings.ini setup.py pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) was not found: install Python 3.11 or newer, or name it: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is $$($(PYTHON) -V 2>&1), and 3.11 or newer is needed: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "$(PYTHON) lacks its venv module: on Debian and Ubuntu, install the package python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	grep -o '^[^ #]*==[^ ]*' requirements.lock > $(VENV)/pins.txt
# Among torch's builds, --require-hashes prefers the index's (CUDA on Linux) to one that pip is set up to find elsewhere.
# So pip chooses without it, and the digest of the file that it took is looked up in the lock.
	$(BIN)/python -m pip install --quiet --no-deps --constraint $(VENV)/pins.txt --report $(VENV)/torch.json torch
	@for digest in $$(grep -o 'sha256=[0-9a-f]*' $(VENV)/torch.json); do grep -q "sha256:$${digest#*=}" requirements.lock || \
		{ $(BIN)/python -m pip uninstall --quiet --yes torch; echo "torch: requirements.lock lacks $$digest" >&2; exit 1; }; done
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps --requirement requirements.lock
	@touch $(VENV)/locked
# What the lock has stays as it is; pip adds what packages need on this platform only.
	$(BIN)/python -m pip install --quiet --no-build-isolation --constraint $(VENV)/pins.txt --editable '.[dev]'
	@touch $@
