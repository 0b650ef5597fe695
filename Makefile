# Two commands do everything on a fresh machine: `make demo` runs the main job, `make test` passes the tests.
# Needed beforehand: Linux x86-64, Python >= 3.11 with venv and headers, git, g++, make.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

# The tests start Python hundreds of times: what it compiles is kept, whatever the caller's environment says.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-fast test-hostile test-torch test-images lint docs release clean

demo: $(VENV)/.installed
	$(BIN)/wheelsmith build cuvec==6.0.1 --gpu "RTX 5090,A40" --toolkit wheels
	@echo
	$(BIN)/wheelsmith try 'cuvec==6.0.1+cu130'

test: lint
	$(BIN)/python -m pytest --durations 40 --durations-min 5 -m "not torch and not images and not hostile"

# What a change is tried with again and again: about a minute of CPU, no network, compiler, git, pip or server.
test-fast: $(VENV)/.installed-dev
	$(BIN)/python -m pytest --hypothesis-profile fast -m "not e2e and not torch and not images and not hostile"

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy wheelsmith benchmarks tests
	$(BIN)/hadolint Dockerfile examples/consumer/Dockerfile

# Hundreds of bad recipes, and servers that lie, drip and never end: minutes, loopback only.
test-hostile: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m hostile -s

# Gigabytes and tens of minutes: builds a torch extension for real.
test-torch: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m torch

# On Debian or Ubuntu. Installs podman and buildah (as root; docker.io is used where it is installed), and makes the base
# images from Debian's packages: none is pulled. Tens of minutes, a gigabyte of downloads.
test-images: $(VENV)/.installed-dev
	test "$$(id -u)" != 0 || tests/container/engines.sh install
	WHEELSMITH_IMAGES=1 $(BIN)/python -m pytest -m images

# The documentation as a site in site/: the reference made from the code, links checked.
docs: $(VENV)/.installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# Our own wheel and sdist in release/, made twice from the commit and compared byte for byte.
release: $(VENV)/.installed-dev
	$(BIN)/python .ci/release.py release

clean:
	rm -rf $(VENV) dist/* dist/.wheelsmith

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/.installed
