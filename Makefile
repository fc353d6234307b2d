# `make run` and `make test` do everything on a fresh machine with Python (3.11 or newer) and make.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q
LOCK := $(BIN)/pip-compile -q --generate-hashes --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
        --strip-extras --allow-unsafe --no-annotate --no-header
BUILD := --build-deps-for editable --build-deps-for wheel

.PHONY: run install dev test story browser check fix proto lock bench prove proof proof_swap trials canaries watched drifts outage slow_tail loadtest soak clean

run: install  ## serve the bundled models on this machine
	$(BIN)/router serve

install: .venv/installed

dev: .venv/dev

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: requirements.lock pyproject.toml | .venv/bin/python
	$(PIP) install --require-hashes -r requirements.lock
	$(PIP) install --no-deps --no-build-isolation -e .
	touch $@

.venv/dev: requirements-dev.lock .venv/installed
	$(PIP) install --require-hashes -r requirements-dev.lock
	touch $@

# A client of other people's making, in an environment of its own: it wants another protobuf than we do.
.venv-triton/installed: tests/tritonclient.lock
	$(PYTHON) -m venv .venv-triton
	.venv-triton/bin/python -m pip --disable-pip-version-check -q install --require-hashes -r $<
	touch $@

test: dev .venv-triton/installed  ## everything that needs no clock: minutes
	$(BIN)/pytest -n 2 --dist worksteal

story: dev  ## whole stories under traffic, by the clock: the demo, load tests, memory over many versions
	$(BIN)/pytest -m story

browser: dev  ## the pages in a real browser (Chromium)
	$(BIN)/pytest -m browser

check: dev  ## only verifies
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python proto/generate.py --check

fix: dev  ## mends what can be mended by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

proto: dev
	$(BIN)/python proto/generate.py

lock: dev  ## new pins
	$(LOCK) $(BUILD) --extra loadtest -o requirements.lock pyproject.toml
	$(LOCK) $(BUILD) -c requirements.lock --extra dev --extra loadtest --extra train -o requirements-dev.lock pyproject.toml
	echo 'tritonclient[grpc]' | $(LOCK) -o tests/tritonclient.lock -

bench: dev  ## throughput against the hand-written baseline, in ratios
	$(BIN)/python -m loadtest.bench

prove: dev  ## the load test against true times; CPU per request below capacity; one model's effect on another's tail
	$(BIN)/pytest -m prove
	$(BIN)/python -m loadtest.bench --cpu --beside

loadtest: dev  ## two scenarios, briefly, on the bundled models; pages in build/
	$(BIN)/router loadtest run steady --quick --html build/steady.html --json build/steady.json
	$(BIN)/router loadtest run worker_kill --quick --html build/worker_kill.html --json build/worker_kill.json

# Faults and load, as the README's table shows them: a quarter of an hour. A scenario that is not kept does not end it.
RUN := -$(BIN)/router loadtest run
PROOF := loadtest/results
PACE := server.settings.pace
proof: dev  ## callers are answered in time, whatever a model does: results in loadtest/results
	$(RUN) hang --json $(PROOF)/hang.json
	$(RUN) hang --set title="Runs that hang, no fallback" --set server.settings={} --set phase.hanging.lasts=40s \
	    --set sla.availability=10% --json $(PROOF)/hang_without_fallback.json
	$(RUN) hang --set title="The same without a fault" --set action=[] --set phase.hanging.lasts=40s \
	    --json $(PROOF)/hang_control.json
	$(RUN) overload --json $(PROOF)/overload.json
	$(RUN) cached --json $(PROOF)/cached.json
	$(RUN) cached --set title="Remembered answers, exponent 1" --set mix.scores.skew=1.0 --json $(PROOF)/cached-1.0.json
	$(RUN) cached --set title="Remembered answers, exponent 1.2" --set mix.scores.skew=1.2 \
	    --json $(PROOF)/cached-1.2.json
	$(RUN) failing --json $(PROOF)/failing.json
	$(RUN) worker_stop --json $(PROOF)/worker_stop.json
	$(RUN) gil_burn --json $(PROOF)/gil_burn.json
	$(MAKE) slow_tail

trials: dev  ## what twenty trials at once cost those who are served: results in loadtest/results
	$(BIN)/python -m loadtest.trials

watched: dev  ## what it costs to watch two hundred models: results in loadtest/results
	GRPC_ENABLE_FORK_SUPPORT=1 $(BIN)/python -m loadtest.watched

canaries: dev  ## how soon a version that turns bad is sent back: results in loadtest/results
	$(BIN)/python -m loadtest.canaries

drifts: dev  ## how often drift is reported where there is none, and how soon where there is: results in loadtest/results
	$(BIN)/python -m loadtest.drifts

outage: dev  ## a webhook's receiver away for ten minutes, the controller killed meanwhile: is an event lost? results in loadtest/results
	$(BIN)/python -m loadtest.outage

# Of swaps a quarter of an hour, and half an hour for the memory; of warm-ups six minutes.
proof_swap: dev  ## versions come, go and are warmed under load, and nobody notices: results in loadtest/results
	$(RUN) swaps --json $(PROOF)/swaps.json
	$(RUN) swaps_memory --json $(PROOF)/swaps_memory.json
	$(RUN) mirror --json $(PROOF)/mirror.json

# At 30, 60 and 80 % of what two cores hold beside the sender: a run that burns leaves less of it.
slow_tail: dev
	for cell in stall-200 stall-400 stall-540 burn-140 burn-280 burn-380; do for hedged in true false; do \
	    kind=$${cell%-*} rate=$${cell#*-}; \
	    $(BIN)/router loadtest run slow_tail --set "title=$$kind at $$rate/s, hedged: $$hedged" \
	        --set $(PACE).faults.0.kind=$$kind --set $(PACE).hedge.enabled=$$hedged --set phase.tail.lasts=30s \
	        --set phase.warm-up.rate=$$rate/s --set phase.tail.rate=$$rate/s \
	        --json $(PROOF)/slow_tail-$$cell-$$hedged.json; done; done || true
	$(BIN)/router loadtest compare $(PROOF)/slow_tail-stall-200-false.json $(PROOF)/slow_tail-stall-200-true.json \
	    --png $(PROOF)/slow_tail.png

soak: dev  ## ten minutes of load: memory must not grow
	$(BIN)/python -m loadtest.soak

clean:
	rm -rf .venv .venv-triton .router
