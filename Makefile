# make demo: the main job on a small project · make test: the tests · make test-long: those that take long · make docs: the pages · make lint: ruff and mypy
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
TEST_INSTALLED := $(VENV)/.test-installed

.PHONY: demo test test-long docs lint clean

# `tricklint check` exits 1 when it finds something, which is what the demo is for; 2 would be a failure.
demo: $(INSTALLED)
	@echo '$$ tricklint check fixtures/pills --trace'
	@$(BIN)/tricklint check fixtures/pills --trace || test $$? -eq 1

# Many tests start the command: compiled once here, not by each where Python may write no bytecode.
test: $(TEST_INSTALLED)
	$(BIN)/python -m compileall -q -j 0 tricklint rules
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile $(PYTEST_ARGS)

test-long: $(TEST_INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m long $(PYTEST_ARGS)

# The pages, in site/; what is made from the code must be up to date, and a warning is an error.
docs: $(TEST_INSTALLED)
	$(BIN)/python docs/make_pages.py --check
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

lint: $(TEST_INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/mypy

# The stamps make both environments last until what goes into them changes.
$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# pip compiles what it installs file by file; here every processor does it, once all is there (a package may hold files
# for another Python, or templates: those are passed over).
COMPILE := find $(VENV)/lib* -maxdepth 2 -name site-packages -exec $(BIN)/python -m compileall -q -j 0 {} + >/dev/null || true

$(INSTALLED): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --no-compile -c constraints-test.txt -e '.[trace]'
	$(COMPILE)
	touch $@

TEST_INPUTS := requirements-test.txt requirements-test-torchvision.txt constraints-test.txt tests/environment/install.py
$(TEST_INSTALLED): pyproject.toml $(TEST_INPUTS) $(INSTALLED) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --no-compile -c constraints-test.txt -r requirements-test.txt -e '.[trace]'
	$(BIN)/python -m pip install --quiet --no-compile --no-deps -c constraints-test.txt -r requirements-test-torchvision.txt
	$(BIN)/python tests/environment/install.py
	$(COMPILE)
	touch $@

clean:
	rm -rf $(VENV) build dist site *.egg-info
