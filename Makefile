# fastcar: run, test, lint and measure from a fresh clone; needs Python 3.10 or newer with venv.
#
#   make run   SOCKET=/tmp/fastcar.sock ARGS="--verbose"   start the proxy in the foreground
#   make run-fastcgi  PORT=8080 ARGS="--verbose"   serve examples/fastcgi with php-fpm
#   make run-relay  RELAY_SOCKET=/tmp/fastcar-redis.sock   serve examples/relay with redis-server
#   make test  TESTS=tests.test_config ARGS="-j2"          run the tests
#   make compare URL=https://example.com/ ARGS="--requests 50"   what PHP gains; or ARGS="--rtt 20"
#   make soak | bench ARGS="--quick" | bench-fastcgi | bench-relay | bench-http2
#   make memory | lint | clean

PYTHON ?= python3
SOCKET ?= /tmp/fastcar.sock
PORT ?= 8080
RELAY_SOCKET ?= /tmp/fastcar-redis.sock
TESTS ?= tests
URL ?=
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
METADATA := setup.cfg pyproject.toml
# mypy fails on a folder that does not exist.
TYPED := fastcar_tw $(wildcard tests bench) twisted/plugins/fastcar_plugin.py
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: help run run-fastcgi run-relay test soak lint compare bench bench-fastcgi bench-relay \
	bench-http2 memory clean
.DELETE_ON_ERROR:

help:
	@sed -n 's/^#   //p' Makefile

run: $(VENV)/.run
	@echo
	@echo "fastcar starts on $(SOCKET). Try it from another terminal:"
	@echo "  curl --unix-socket '$(SOCKET)' http://example.com/"
	@echo
	@exec $(BIN)/twistd -n --pidfile= fastcar --unix '$(SOCKET)' $(ARGS)

run-fastcgi: $(VENV)/.run
	@echo
	@echo "fastcar starts on http://127.0.0.1:$(PORT)/ with examples/fastcgi and php-fpm."
	@echo
	@TWISTD=$(BIN)/twistd PORT='$(PORT)' exec examples/fastcgi/run $(ARGS)

run-relay: $(VENV)/.run
	@echo
	@echo "fastcar starts on $(RELAY_SOCKET) with a Redis of its own. Try it from another terminal:"
	@echo "  php examples/relay/counter.php '$(RELAY_SOCKET)'"
	@echo
	@TWISTD=$(BIN)/twistd SOCKET='$(RELAY_SOCKET)' exec examples/relay/run $(ARGS)

test: $(VENV)/.test
	$(BIN)/python -m twisted.trial $(ARGS) $(TESTS)

# Each of its tests runs for this long instead of a few seconds.
soak: $(VENV)/.test
	FASTCAR_SOAK_SECONDS=60 $(BIN)/python -m twisted.trial $(ARGS) tests.soak

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(TYPED)

compare: $(VENV)/.compare
	$(BIN)/python -m fastcar_tw.compare $(if $(URL),'$(URL)') $(ARGS)

bench: $(VENV)/.bench
	$(BIN)/python -m bench $(ARGS)

bench-fastcgi: $(VENV)/.run
	$(BIN)/python -m bench.fastcgi $(ARGS)

bench-relay: $(VENV)/.run
	$(BIN)/python -m bench.relay $(ARGS)

bench-http2: $(VENV)/.run
	$(BIN)/python -m bench.http2 $(ARGS)

memory: $(VENV)/.bench
	$(BIN)/python -m bench.memory $(ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info _trial_temp* .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
	rm -f twisted/plugins/dropin.cache twistd.pid twistd.log

# The stamps: an environment is made once, and installed into again when the metadata changes.
# The installation is editable, so changed code needs nothing.
$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || { \
	  echo "fastcar needs Python 3.10 or newer; $(PYTHON) -V says: $$($(PYTHON) -V 2>&1)" >&2; \
	  echo "Name another: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV) || { \
	  echo "$(PYTHON) cannot make a virtual environment." \
	    "On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@touch $@

$(VENV)/.run: $(VENV)/.made $(METADATA)
	$(PIP_INSTALL) -e .
	@touch $@

$(VENV)/.test: $(VENV)/.made $(METADATA)
	$(PIP_INSTALL) -e '.[test]'
	@touch $@ $(VENV)/.run

$(VENV)/.dev: $(VENV)/.made $(METADATA)
	$(PIP_INSTALL) -e '.[test,dev]'
	@touch $@ $(VENV)/.run $(VENV)/.test

$(VENV)/.compare: $(VENV)/.made $(METADATA)
	$(PIP_INSTALL) -e '.[compare]'
	@touch $@ $(VENV)/.run

$(VENV)/.bench: $(VENV)/.made $(METADATA)
	$(PIP_INSTALL) -e '.[bench]'
	@touch $@ $(VENV)/.run
