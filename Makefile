# The commands of the project. `make` alone lists them.

.DEFAULT_GOAL := help
.SUFFIXES:
MAKEFLAGS += --no-print-directory --no-builtin-rules

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# uv does not read pip's settings: where a registry is set for pip, uv takes it too.
ifneq ($(PIP_INDEX_URL),)
export UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
endif

# Handed down to the commands as they are: no shell reads them.
export CAMPAIGN DAGS_FOLDER PARAMS CUSTOMERS CHECKER CHECKER_DELAY PORT SANDBOX_PORT

.PHONY: help install run up test newest bench chaos cluster mutants proof fire doubt faults audit constraints clean

help: ## List the commands and their variables
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-20s %s\n", $$1, $$2}'
	@echo
	@echo 'Variables of run and up, as in `make run CAMPAIGN=monthly_streak`:'
	@sed -n 's/^#: \([A-Z_]*\)=\([^ ]*\) *\(.*\)/  \1|\2|\3/p' $(MAKEFILE_LIST) \
		| awk -F'|' '{printf "  %-26s %-12s %s\n", $$1, $$2, $$3}'

#: CAMPAIGN=gold_tier      the campaign to run: the name of a DAG
#: DAGS_FOLDER=dags        where campaigns are taken from
#: PARAMS={}               parameters of the run as JSON, such as '{"canary": false}'
#: CUSTOMERS=5000          size of the example warehouse
#: CHECKER=automatic       who decides in the sandbox: automatic or manual (up: manual)
#: CHECKER_DELAY=2         seconds until the automatic checker decides
#: PORT=8080               of Airflow's UI (run: any free one)
#: SANDBOX_PORT=8090       of the sandbox and its checker's page
#: AIRFLOW_CONN_CAPILLARY=unset     your platform in place of the sandbox
#: AIRFLOW_CONN_WAREHOUSE=unset     your warehouse in place of the example
#: AIRFLOW_CONN_BADGE_LEDGER=unset  your ledger in place of the sample
#: PYTHON=python3          the Python of .venv, 3.11 to 3.14

run: $(VENV)/installed ## Run one campaign through real Airflow, from extract to report, and stop
	@$(BIN)/python -m local_airflow run

up: $(VENV)/installed ## Keep Airflow's UI and the sandbox's checker page running until Ctrl-C
	@$(BIN)/python -m local_airflow up

# One more than there are cores: many tests wait, for a process, a browser or a timeout.
WORKERS ?= $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 1)))

test: $(VENV)/installed-dev ## Check lint, format, types and spelling, and run the tests
	@echo '== ruff check' && $(BIN)/ruff check --quiet .
	@echo '== ruff format --check' && $(BIN)/ruff format --quiet --check .
	@echo '== mypy' && $(BIN)/mypy --no-error-summary .
	@echo '== codespell' && $(BIN)/codespell
	@echo '== pytest' && $(BIN)/pytest -q -n $(WORKERS) --dist worksteal

newest: $(VENV)/newest/installed ## Run the unit tests on SQLAlchemy 2.1, in an environment of their own: NEWEST="tests/unit/ledger -x"
	@$(VENV)/newest/bin/pytest -q -n auto --dist worksteal $(or $(NEWEST),tests/unit)

install: $(VENV)/installed ## Install into .venv; the other commands do it when it is needed

bench: $(VENV)/installed-dev ## Measure speed and memory; BENCH="million --customers 100000" chooses
	@$(BIN)/python -m measure.bench $(BENCH)

chaos: $(VENV)/installed-dev ## Play SEEDS=1000 seeded worlds of faults against the engine, then the crash matrix with CRASHES="--double 400"
	@$(BIN)/python -m tests.simulation --seeds $(or $(SEEDS),1000)
	@$(if $(CRASHES),$(BIN)/python -m tests.crashes $(CRASHES),true)

# What the machine lacks is said before minutes of installing; a machine without Python is told so by the install.
cluster: ## Bring docker-compose.yml up as processes, as root on Linux, and kill some: CLUSTER="long --kills 50"
	@if command -v '$(PYTHON)' > /dev/null; then '$(PYTHON)' -m tests.cluster.needed; fi
	@$(MAKE) $(VENV)/installed-dev $(VENV)/cluster/installed
	@$(BIN)/python -m tests.cluster $(CLUSTER)

mutants: $(VENV)/installed-dev ## Change transitions, submission and reply parsing a little, see what fails: MUTANTS="--only ledger"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python mutmut==3.8.1 -c constraints.txt
	@$(BIN)/python -m tests.mutants $(MUTANTS)

proof: $(VENV)/installed-dev ## Run what is proven and write its table into docs/proof.md: PROOF="lag words"; all takes two hours
	@$(BIN)/python -m tests.proof $(PROOF)

fire: $(VENV)/installed-dev ## Kill real Airflow's processes under load: FIRE="--kills 50 --requests 200", FIRE=--people
	@$(BIN)/python -m tests.fire $(FIRE)

doubt: $(VENV)/installed-dev ## Run one campaign through real Airflow while a third of all POSTs lose their answer: DOUBT="--seed 7"
	@$(BIN)/python -m tests.fire --lost $(DOUBT)

faults: $(VENV)/installed-dev ## Measure what a lost reply does to others and to this project, into docs/faults.md
	@$(BIN)/python -m measure.faults $(FAULTS)

audit: $(VENV)/installed-dev ## Hold the pinned dependencies against what PyPI knows of vulnerabilities
	@$(BIN)/python -m tests.audit

constraints: $(VENV)/installed-dev ## Resolve requirements*.txt again into constraints.txt, keeping what still fits
	@$(BIN)/uv pip compile requirements.txt requirements-dev.txt --output-file constraints.txt --quiet \
		--universal --python-version 3.11 --no-header --no-annotate --no-emit-package airflow-provider-capillary

clean: ## Remove .airflow (the local Airflow, its samples and logs) and all caches; .venv stays
	@if [ -x $(BIN)/python ] && [ -d .airflow ]; then $(BIN)/python -m local_airflow clean; else rm -rf .airflow; fi
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis build

# uv takes 3 s where pip takes 42; pip knows registries that only its own configuration names.
pip_install = $(BIN)/uv pip install --quiet --python $(BIN)/python -r $(1) -c constraints.txt \
	|| $(BIN)/pip install --quiet -r $(1) -c constraints.txt

# A stamp is as new as the last install that came to its end.
$(VENV)/installed: requirements.txt local_airflow/requirements.txt constraints.txt pyproject.toml $(BIN)/uv
	@echo 'installing into $(VENV)'
	@$(call pip_install,requirements.txt)
	@rm -rf plugins/*.egg-info # of an older install: Airflow would take it for a second package
	@{ $(call pip_install,local_airflow/requirements.txt); } 2>/dev/null \
		|| echo 'no PostgreSQL server as a package for this system: Airflow'"'"'s metadata will be in SQLite'
	@touch $@

$(VENV)/installed-dev: requirements-dev.txt $(VENV)/installed
	@echo 'installing what the tests need into $(VENV)'
	@$(call pip_install,requirements-dev.txt)
	@touch $@

# All as it is pinned, but for SQLAlchemy: the pin is older for the sake of warehouses' dialects.
$(VENV)/newest/installed: $(VENV)/installed-dev
	@echo 'installing SQLAlchemy 2.1 and the rest into $(VENV)/newest'
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(VENV)/newest
	@echo 'sqlalchemy==2.1.9' > $(VENV)/newest/sqlalchemy.txt
	@sed '/^sqlalchemy==/d' constraints.txt > $(VENV)/newest/constraints.txt
	@$(BIN)/uv pip install --quiet --python $(VENV)/newest/bin/python -r requirements.txt -r requirements-dev.txt \
		-c $(VENV)/newest/constraints.txt --override $(VENV)/newest/sqlalchemy.txt
	@touch $@

# What the Dockerfile installs, and what the image's base has; the package itself is installed at each run.
$(VENV)/cluster/installed: requirements.txt requirements-celery.txt requirements-cluster.txt constraints.txt $(BIN)/uv
	@echo 'installing what the image has into $(VENV)/cluster'
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(VENV)/cluster
	@sed '/^-e /d' requirements.txt > $(VENV)/cluster/requirements.txt
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(VENV)/cluster/bin/python -r $(VENV)/cluster/requirements.txt \
		-r requirements-celery.txt -r requirements-cluster.txt -c constraints.txt
	@touch $@

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' || { \
		echo 'Python 3.11 to 3.14 is needed, and $(PYTHON) is none: install one and name it, as in `make run PYTHON=python3.13`'; \
		exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check \
		"$$(sed -n 's/^\(uv==[0-9.]*\).*/\1/p' requirements-dev.txt)"
