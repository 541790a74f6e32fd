"""What training takes of the machine stands in its batch events."""

import json
import os
import time
from types import SimpleNamespace

import psutil
import pytest

from fer_core.training.callbacks.machine import Machine
from fer_core.training.callbacks.reporter import Reporter


def test_work_and_memory_of_this_process_are_measured():
    machine = Machine()
    until = time.process_time() + 0.3
    while time.process_time() < until:
        pass
    use = machine.use()
    assert use["cpu_percent"] > 5  # of a busy machine, too
    assert use["memory_bytes"] == pytest.approx(psutil.Process(os.getpid()).memory_info().rss, rel=0.1)


@pytest.fixture
def two_gpus(monkeypatch):
    """NVIDIA's library as a machine with two GPUs answers; ``broken`` makes it fail from then on."""
    import pynvml

    state = SimpleNamespace(broken=False)

    def answer(values):
        def ask(gpu):
            if state.broken:
                raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
            return values[gpu]

        return ask

    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: 2)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lambda number: number)
    rates, memory = (
        [SimpleNamespace(gpu=90), SimpleNamespace(gpu=60)],
        [SimpleNamespace(used=3), SimpleNamespace(used=4)],
    )
    monkeypatch.setattr(pynvml, "nvmlDeviceGetUtilizationRates", answer(rates))
    monkeypatch.setattr(pynvml, "nvmlDeviceGetMemoryInfo", answer(memory))
    return state


def test_gpus_are_told_of_where_there_are_any_and_a_driver_that_fails_costs_nothing(two_gpus):
    machine = Machine()
    use = machine.use()
    assert (use["gpu_percent"], use["gpu_memory_bytes"]) == (75, 7)
    two_gpus.broken = True
    assert set(machine.use()) == {"cpu_percent", "memory_bytes"}


def test_without_a_driver_nothing_is_said_of_gpus(monkeypatch):
    import pynvml

    def missing():
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", missing)
    assert set(Machine().use()) == {"cpu_percent", "memory_bytes"}


class Batches(list):
    def size_of(self, batch):
        return 16


def test_a_batch_event_tells_of_the_machine_at_most_twice_a_second():
    told = []

    class Worker:
        def __call__(self, phase, done, total):
            pass

        def emit(self, kind, **fields):
            told.append(SimpleNamespace(kind=kind, **fields))

    reporter = Reporter(Worker(), Batches(range(50)), phase=0, phases=1, validation_steps=1)
    reporter.set_params({"epochs": 1})
    reporter.on_epoch_begin(0)
    began = time.monotonic()
    for batch in range(50):
        reporter.on_train_batch_end(batch, {"loss": 1.0, "accuracy": 0.5})
    assert len(told) <= 1 + (time.monotonic() - began) / 0.5
    assert told[0].cpu_percent >= 0
    assert told[0].memory_bytes > 10**7
    json.dumps(vars(told[0]), allow_nan=False)
