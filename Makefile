PORT ?= 8000
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

# How many processes run tests side by side, each on a database of its own: by default two a core, as tests of
# servers mostly wait. A database in FLEETWATT_TEST_DATABASE_URL is for one alone.
WORKERS ?= $(if $(FLEETWATT_TEST_DATABASE_URL),0,$(shell echo $$((2 * $$(nproc)))))
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --maxprocesses=8 --dist=loadfile --no-loadscope-reorder

.PHONY: docs reference screenshots run test test-long test-native test-clients fuzz lint format bench bench-analytics docs-figures soak lock audit sbom clean

# The API on the embedded TimescaleDB, or on FLEETWATT_DATABASE_URL. No shell stands between make and it: signals reach it.
# MQTT=1883 adds a NATS that takes MQTT on that port, and the consumer.
run: $(READY) $(if $(MQTT),.venv/.mqtt)
	@FLEETWATT_PORT=$(PORT) FLEETWATT_LOG_FORMAT=$${FLEETWATT_LOG_FORMAT:-text} exec $(BIN)/fleetwatt dev $(if $(MQTT),--mqtt $(MQTT)) --under-make $$PPID

test: $(READY)
	$(PYTEST) --cov

# Clients generated from openapi.json, in Python and TypeScript: linted, type-checked strictly, run on the service.
test-clients: .venv/.clients
	$(PYTEST) -n 0 tests/clients/generated.py

.venv/.clients: $(READY) tests/clients/requirements.txt tests/clients/package-lock.json
	@$(PYTHON) -m venv .venv/clients
	@.venv/clients/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r tests/clients/requirements.txt
	@$(BIN)/python -m fleetwatt.embedded.node tests/clients
	@touch $@

# The tests on random input at full size, of which `make test` tries the part that FLEETWATT_TEST_SCALE says (0.2).
test-long: $(READY)
	FLEETWATT_TEST_SCALE=$${FLEETWATT_TEST_SCALE:-1} $(PYTEST) -m scaled

# The tests that ask a database on a TimescaleDB with many processes, from Debian's packages: the Apache edition.
test-native: $(READY)
	FLEETWATT_NATIVE=1 $(PYTEST) tests/native tests/api tests/cli tests/database tests/http tests/lifecycle tests/ops/test_compose.py tests/test_end_to_end.py

# The decoder and the embedded server's protocol on FUZZ_INPUTS (1,000,000) odd inputs each, from FUZZ_SEED (1) on.
fuzz: $(READY)
	$(BIN)/python -m tests.fuzz.decoder
	$(BIN)/python -m tests.fuzz.protocol

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	$(BIN)/python .ci/prose

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# What docs/explanation/performance.md quotes, on FLEETWATT_DATABASE_URL or a native server; PEERS=1 measures others beside it. It needs wrk.
bench: $(READY)
	$(BIN)/python -m bench --json bench.json $(if $(PEERS),--peers)

# What dashboards ask, of 10,000 vehicles and meters; EXPLAIN=file writes the plans. It takes minutes and 6 GB of disk.
bench-analytics: $(READY)
	$(BIN)/python -m bench.analytics --json bench-analytics.json $(if $(EXPLAIN),--explain $(EXPLAIN))

# docs/ as a site, into site/; it fails on a link that leads nowhere.
docs: .venv/.docs
	NO_MKDOCS_2_WARNING=1 PYTHONPATH=. $(BIN)/mkdocs build --strict

.venv/.docs: $(READY) requirements-docs.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-docs.txt
	@touch $@

# The tables of docs/reference/, which the code defines.
reference: $(READY)
	$(BIN)/python docs/reference/generate.py

# The pictures of the page, with a fleet of its own; it needs Debian's chromium, and fonts-inter for its type.
screenshots: $(READY)
	$(BIN)/python docs/screenshots/take.py

# The pictures of docs/explanation/.
docs-figures: $(READY)
	$(BIN)/python docs/figures/draw.py

# Faults under load for SOAK_MINUTES, on a native server of its own; fails where a reading is lost or stored twice.
soak: $(READY)
	$(BIN)/python -m bench.soak --minutes $(or $(SOAK_MINUTES),20) $(if $(REPORT),--report $(REPORT))

# The locks of requirements*.txt, from setup.cfg.
lock:
	uv pip compile --group pyproject.toml:build --universal --python-version 3.11 --generate-hashes --no-emit-find-links --no-header -o requirements-build.txt
	uv pip compile setup.cfg --universal --generate-hashes --no-emit-find-links --no-header -o requirements.txt
	uv pip compile tests/clients/requirements.in --universal --python-version 3.11 --generate-hashes --no-emit-find-links --no-header -o tests/clients/requirements.txt
	uv pip compile setup.cfg --extra mqtt --universal --generate-hashes --no-emit-find-links --no-header -c requirements.txt -o requirements-mqtt.txt
	uv pip compile setup.cfg --extra test --universal --generate-hashes --no-emit-find-links --no-header -o requirements-dev.txt
	uv pip compile setup.cfg --extra docs --constraint requirements-dev.txt --universal --generate-hashes --no-emit-find-links --no-header -o requirements-docs.txt

.venv/.mqtt: $(READY) requirements-mqtt.txt
	@echo "MQTT: nats-server and its client …"
	@$(BIN)/pip install --disable-pip-version-check --no-deps --require-hashes -r requirements-mqtt.txt
	@touch $@

RELEASE := .venv/release/bin

# Known vulnerabilities of what is locked.
audit: .venv/release/.ready
	.ci/audit $(RELEASE)

# What the service is made of, as CycloneDX. The embedded database is no part of it: its lock is its list.
sbom: .venv/release/.ready
	mkdir -p dist
	$(RELEASE)/cyclonedx-py requirements --output-reproducible --of JSON -o dist/fleetwatt.cdx.json requirements.txt

.venv/release/.ready: $(READY) setup.cfg
	@$(PYTHON) -m venv .venv/release
	@$(RELEASE)/pip install --disable-pip-version-check cyclonedx-bom pip-audit
	@touch $@

clean:
	rm -rf .venv src/fleetwatt/embedded/node_modules

$(READY): requirements-dev.txt setup.cfg src/fleetwatt/embedded/package-lock.json
	@$(PYTHON) -c 'import sys; sys.version_info < (3, 11) and sys.exit("fleetwatt needs Python 3.11 or later, as in `make PYTHON=python3.13 …`")'
	@echo "Setting up .venv, once: about a minute where packages come quickly"
	@echo "1/3 Python packages …"
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.txt
	@echo "2/3 fleetwatt itself …"
	@$(BIN)/pip install --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@echo "3/3 the embedded database …"
	@$(BIN)/python -m fleetwatt.embedded.node
	@touch $@
