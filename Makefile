# Two commands for everything: `make run` and `make test`.
# Each makes .venv and installs what it needs, once (a stamp file per requirements file); the second run needs no network.

VENV   := .venv
# The first Python that runs and fits (a version manager's shim can be on the PATH and refuse to run).
PYTHON ?= $(shell for p in python3 python3.12 python3.11 python3.13; do .ci/check-machine $$p >/dev/null 2>&1 && echo $$p && break; done)
BIN    := $(VENV)/bin

.PHONY: run test test-full bench lint clean

run: $(VENV)/.runtime
	$(BIN)/streamlit run dashboard/app.py

test: $(VENV)/.dev lint
	tests/ensure_chromium.sh
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow" tests/unit tests/pages
	$(BIN)/python -m pytest -m "not slow" tests/browser --timeout=1800

# Also with the other backends of Keras, each in an environment without TensorFlow; PyTorch's (`make .venv-torch/.ready`)
# is large and only used where it is there.
test-full: test .venv-jax/.ready
	$(BIN)/python -m pytest -n 2 --dist loadfile -m slow tests/unit tests/pages
	$(BIN)/python -m pytest -m slow tests/browser --timeout=1800
	$(BIN)/python -m pytest tests/full --timeout=1800

# Measures, and fails for no time. FER_REAL_DATA names the folder with the two real archives.
bench: $(VENV)/.dev
	tests/ensure_chromium.sh
	for name in prepare audit_growth copies arrays balance training features watching watched_training server evaluate_page runs_page inference tta video webcam; do $(BIN)/python -m benchmarks.$$name --json || exit 1; done
	$(BIN)/python -m benchmarks.table

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(VENV)/.runtime: requirements.txt
	@.ci/check-machine $(or $(PYTHON),python3)
	test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/.dev: requirements-dev.txt requirements-tensorboard.txt requirements-mlflow.txt requirements-kaggle.txt $(VENV)/.runtime
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

.venv-%/.ready: requirements-%.txt requirements.txt
	test -x .venv-$*/bin/pip || $(PYTHON) -m venv .venv-$*
	grep -vE '^(tensorflow|tf2onnx|streamlit|streamlit-webrtc|plotly)==' requirements.txt > .venv-$*/requirements.txt
	.venv-$*/bin/pip install --quiet --disable-pip-version-check -r .venv-$*/requirements.txt -r $<
	touch $@

clean:
	rm -rf $(VENV) .venv-* .mypy_cache .ruff_cache .pytest_cache
