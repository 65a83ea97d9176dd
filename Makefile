# The same lines for people, CI and hooks.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo test slow check bench clean
.DEFAULT_GOAL := help

help:
	@echo "make setup | demo | test | slow | check | bench | clean"

$(BIN)/.ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --progress-bar off --quiet -e '.[dev]'
	touch $@

setup: $(BIN)/.ready  ## make .venv with everything in it

demo: setup  ## train on real photos of solar cells, evaluate, report
	@if test -f runs/demo/recipe.json; then $(BIN)/effnetv2 train --resume runs/demo; \
	else $(BIN)/effnetv2 train elpv --model mini --epochs 30 --to runs/demo; fi

test: setup  ## the default tests
	$(BIN)/python -m pytest

slow: setup  ## the tests that take minutes
	$(BIN)/python -m pytest -m slow

check: setup  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: setup  ## one training step beside timm's and torchvision's
	$(BIN)/effnetv2 bench step

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache
