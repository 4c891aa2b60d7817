# Needs Python 3.11 or newer and make; everything else is fetched into .venv or, for Chromium and R, from the
# system's packages.
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: setup demo test lint format translations rehearse bench lock clean
.DEFAULT_GOAL := demo

# What the service itself needs, and the `rts` command.
.venv/.runtime: requirements.txt requirements-build.txt pyproject.toml
	PYTHON="$(PYTHON)" .ci/provide venv
	$(BIN)/pip install --quiet --require-hashes -r requirements.txt -r requirements-build.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

# What tests and linters need on top.
.venv/.dev: .venv/.runtime requirements-dev.txt
	$(BIN)/pip install --quiet --require-hashes -r requirements-dev.txt
	touch $@

setup: .venv/.dev
	.ci/provide chromium r

demo: .venv/.runtime
	$(BIN)/rts demo

# Bounded to two processes: the smallest machine the suite is meant for. ARGS="-k kit -x" narrows a run.
test: setup
	$(BIN)/pytest -n 2 --dist loadgroup $(ARGS)

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .

format: .venv/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Gather the words of code and templates into the catalogues, and compile these.
translations: .venv/.dev
	$(BIN)/python -m tests.infrastructure.translations

# Five whole trials on a test clock; `make -j2 rehearse` runs two at a time.
SEEDS := 1 2 3 4 5
rehearse: $(SEEDS:%=rehearse-%)
rehearse-%: .venv/.runtime
	mkdir -p build/rehearsals
	$(BIN)/rts rehearse sirius --seed $* --json build/rehearsals/seed-$*.json

# Alone on the machine and in order: anything beside it would be measured too. Each file in a process of its own: what one
# leaves in memory would slow the next. A file in which ARGS select nothing ends with 5.
bench: .venv/.dev
	for file in tests/bench/test_*.py; do \
		$(BIN)/pytest -m bench -p no:randomly -p no:xdist -s $$file $(ARGS) || [ $$? -eq 5 ] || exit 1; \
	done

# Pins with the hashes of every published file, so that they hold on any platform; no index address is written. Made with
# the oldest Python to be served (make lock PYTHON=python3.11): what needs a newer one is then left out.
COMPILE := env -u PIP_FIND_LINKS PIP_CONFIG_FILE=/dev/null build/lock/bin/pip-compile --quiet --no-config --no-header \
	--generate-hashes --strip-extras --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
	pyproject.toml
lock:
	$(PYTHON) -m venv build/lock
	build/lock/bin/pip install --quiet pip-tools
	$(COMPILE) --output-file requirements.txt
	$(COMPILE) --extra dev --constraint requirements.txt --output-file requirements-dev.txt
	$(COMPILE) --only-build-deps --all-build-deps --constraint requirements-dev.txt --output-file requirements-build.txt

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info
