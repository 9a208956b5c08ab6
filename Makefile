# Two commands for a newcomer: `make demo` and `make test`. Both set up .venv on their own, once.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# How llama.cpp is built, after the options that the user has set.
BUILD_OPTIONS := -DCMAKE_PROJECT_llama_cpp_INCLUDE=$(CURDIR)/starcoder_lsp/engine/llama.cmake
# Training frees and takes large blocks at each step; keeping them in the process is a fifth faster.
MALLOC := MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=17179869184 MALLOC_TOP_PAD_=268435456
HOURS ?= 2
TESTS ?=
SECONDS ?= 3600

.PHONY: demo test soak test-newest test-editors test-engines lint format settings bench demo-model clean

demo: $(READY)
	@$(BIN)/starcoder-lsp demo

test: $(READY)
	@$(BIN)/python -m pytest --numprocesses auto --dist worksteal $(TESTS)

# Edits, messages, files and workspaces at random for an hour; memory and descriptors are drawn in build/soak/soak.html.
soak: $(READY)
	@$(BIN)/python -m tests.fuzz.soak --seconds $(SECONDS)

# The same again, without the slow oracles, on the newest Python of this machine. One wheel of llama.cpp serves both.
test-newest:
	@newest=$$(.ci/newest-python $(PYTHON)) && if [ -z "$$newest" ]; \
	then echo "no second run: there is no Python here that is newer than $$($(PYTHON) --version)"; \
	else echo "the second run: $$("$$newest" --version), $$newest"; \
	  $(MAKE) test PYTHON="$$newest" VENV=.venv-newest TESTS="tests/unit tests/e2e tests/host"; fi

# Neovim, Helix and Emacs from Debian's packages; STARCODER_TEST_EDITORS=all adds VS Code (1.2 GB). A real editor on a
# busy machine may be late once: a test that fails is tried again, and counted as a rerun.
test-editors: $(READY)
	@tests/editors/install.sh
	@case "$$STARCODER_TEST_EDITORS" in all|*vscode*) $(BIN)/python -m pip install -q -e '.[editors]';; esac
	@STARCODER_TEST_EDITORS=$${STARCODER_TEST_EDITORS:-terminal} $(BIN)/python -m pytest tests/editors --reruns 1 -rR

# Real engines below build/engines: llama.cpp's server; STARCODER_TEST_ENGINES=all adds vLLM for the CPU (550 MB).
test-engines: $(READY)
	@PYTHON=$(PYTHON) tests/engines/install.sh
	@$(BIN)/python -m pytest tests/engines --timeout 900

# What is made from the tree of settings: the table in docs/settings.md and the schema of VS Code's extension.
settings: $(READY)
	@$(BIN)/python build-support/settings_table.py
	@$(BIN)/python editor-configs/vscode/generate_settings.py

lint: $(READY)
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

format: $(READY)
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

bench: $(READY)
	@$(BIN)/python bench/startup.py

# Trains the demonstrator anew: gather the corpus, train HOURS hours (resuming), export, measure.
demo-model: $(READY)
	@$(BIN)/python -m pip install -q -e '.[train]'
	@$(BIN)/python -m demo_model.prepare
	@$(MALLOC) $(BIN)/python -u -m demo_model.train --hours $(HOURS)
	@$(BIN)/python -m demo_model.export --type q8_0
	@$(BIN)/python -m demo_model.evaluate

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "starcoder-lsp needs Python 3.11 or newer; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@command -v c++ >/dev/null && command -v cmake >/dev/null \
	  || { echo "llama-cpp-python is built from source: install a C++ compiler and CMake first"; exit 1; }
	@echo "Setting up $(VENV), once. llama.cpp is built from source, about 4 minutes on two cores, unless pip has"
	@echo "built that version before: then that is taken, whatever options it was built with."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	@CMAKE_ARGS="$$CMAKE_ARGS '$(BUILD_OPTIONS)'" $(PYTHON) build-support/pip_progress.py $(VENV)/setup.log \
	  $(BIN)/python -m pip install --verbose --progress-bar off --disable-pip-version-check -e '.[dev]'
	@$(BIN)/python -c 'import starcoder_lsp.engine.local.llama' || { echo "llama.cpp cannot be loaded; build it anew:"; \
	  $(BIN)/python -c 'from starcoder_lsp.engine.host.rebuild import *; print(rebuild_command())'; exit 1; }
	@$(BIN)/python -m compileall -q starcoder_lsp  # else each start would, where PYTHONDONTWRITEBYTECODE is set
	@touch $(READY)

clean:
	rm -rf $(VENV) .venv-newest build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
