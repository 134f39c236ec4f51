# Two commands for a fresh clone: `make demo` and `make test`. Both set up .venv first; nothing else is touched.
PYTHON    ?= python3
VENV      ?= .venv
INSTALLER ?= pip
BIN       := $(VENV)/bin
STAMP     := $(VENV)/.installed
# Two spinning OpenMP threads beside a busy neighbour lose a factor of four (docs/decisions/0001).
export OMP_WAIT_POLICY ?= PASSIVE
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)

.PHONY: demo test check bench docs web clean help

help:
	@echo "make demo   set up, then measure the mini zoo on generated scenes and write demo/report.html"
	@echo "make test   set up, then lint, types, import contracts, tests, doc checks"
	@echo "make bench  speed against named peers (installs them; takes minutes)"
	@echo "make docs   regenerate the generated pages"
	@echo "make web    rebuild the browser side (needs Node.js); its build is committed"

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "microtome needs Python 3.11 or newer; this is %s. Try: make PYTHON=python3.11" % sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
ifeq ($(INSTALLER),uv)
	$(BIN)/python -m pip install -q uv
	VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/uv pip install -q -c constraints.txt -e '.[dev]'
else
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
endif
	@touch $@

demo: $(STAMP)
	$(BIN)/microtome demo --out demo

test: $(STAMP)
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python tests/check.py

bench: $(STAMP)
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[bench]'
	$(BIN)/python -m benchmarks

docs: $(STAMP)
	$(BIN)/python docs/generate.py

web:
	cd web && npm ci && npm run build

clean:
	rm -rf $(VENV) demo .pytest_cache .ruff_cache
