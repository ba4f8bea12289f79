# make demo    brings up the trained demo on http://127.0.0.1:7860
# make test    runs the tests, all but the longest
# make test-long  runs the longest: accessibility, Cold start, Map, robustness, tabs with the real model
# make bench   measures speed against plain transformers and PEFT
# make lint    checks style, formatting and types
# Both install what they need into .venv, and again only when the requirements have changed.

PYTHON ?= python3.11
HOST ?= $(or $(GRADIO_SERVER_NAME),127.0.0.1)
PORT ?= $(or $(GRADIO_SERVER_PORT),7860)

VENV := .venv
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check
# Of 22,000 modules the page imports some 5,000, which compiles them.
INSTALL := $(PIP) install --no-compile

.DEFAULT_GOAL := demo
.DELETE_ON_ERROR:
.PHONY: demo test test-long bench lint install browser clean

# DATA=DIR makes and serves a demo of your own interactions, and NAME=NAME says what they are called.
demo: $(VENV)/installed
ifdef DATA
	@GRADIO_SERVER_NAME=$(HOST) GRADIO_SERVER_PORT=$(PORT) $(VENV)/bin/python -m ckf_demo demo \
		--data "$(DATA)" $(if $(NAME),--name "$(NAME)") $(DEMO_ARGS)
else
	@GRADIO_SERVER_NAME=$(HOST) GRADIO_SERVER_PORT=$(PORT) $(VENV)/bin/python app.py
endif

# Files in their order, since browser tests, the longest, come first there.
test: $(VENV)/installed-dev browser
	$(VENV)/bin/python -m ckf_demo prepare
	$(VENV)/bin/python -m pytest -m "not long" --numprocesses 2 --dist loadfile --no-loadscope-reorder \
		$(PYTEST_ARGS)

test-long: $(VENV)/installed-dev browser
	$(VENV)/bin/python -m ckf_demo prepare
	$(VENV)/bin/python -m pytest -m long $(PYTEST_ARGS)

bench: $(VENV)/installed
	$(VENV)/bin/python -m ckf_demo prepare
	$(VENV)/bin/python -m ckf_demo bench $(BENCH_ARGS)

lint: $(VENV)/installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/pyrefly check --python-interpreter-path $(VENV)/bin/python

# The environment with the ckf command, without starting anything.
install: $(VENV)/installed

$(VENV)/bin/python:
	@command -v $(PYTHON) >/dev/null || { \
		echo "$(PYTHON) is not installed; install Python 3.11 or name it: make PYTHON=/path/to/python3.11" >&2; \
		exit 2; }
	@echo "Making $(VENV) with $$($(PYTHON) --version)"
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: requirements.txt pyproject.toml | $(VENV)/bin/python
	@echo "Installing requirements.txt; once all is downloaded, pip unpacks it silently for a while"
	$(INSTALL) --progress-bar on --requirement requirements.txt
	$(INSTALL) --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/installed-dev: requirements-dev.txt $(VENV)/installed
	@echo "Installing requirements-dev.txt"
	$(INSTALL) --progress-bar on --requirement requirements-dev.txt
	@touch $@

# The browser tests drive a Chromium of the system.
browser:
	@if command -v chromium >/dev/null || command -v chromium-browser >/dev/null; then :; \
	elif command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		echo "Installing chromium for the browser tests"; \
		apt-get update && \
		DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends chromium; \
	else \
		echo "No chromium here and no way to install it: the browser tests will be skipped" >&2; \
	fi

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .hypothesis .coverage
