"""How the benchmarks measure: A and B in turn, medians of ratios, and the whole of a child process.

The standard library and psutil only, so that ``--help`` is instant and this process stays small: until it is
replaced, a child process counts its parent's memory as its own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import psutil

from fer_core.machine import usable_cores

ROOT: Final = Path(__file__).parents[1]
RESULTS: Final = Path(__file__).parent / "results"

_LOOK_EVERY: Final = 0.01  # seconds: how exactly the end of a child is seen
_SAMPLE_EVERY: Final = 0.2  # seconds between sums of its memory: each costs milliseconds of a core

Result = TypeVar("Result")


@dataclass(frozen=True)
class Summary:
    """Repeats of one measurement: their median, smallest and largest value, and their number."""

    median: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Summary:
        return cls(statistics.median(values), min(values), max(values), len(values))


def ratios(ours: Sequence[float], baseline: Sequence[float]) -> list[float]:
    """Ours over the baseline, repeat by repeat: what slows the machine for a while slows both of a pair."""
    return [a / b for a, b in zip(ours, baseline, strict=True)]


@dataclass(frozen=True)
class Figure:
    """One line of a report.

    Attributes:
        name: What was measured.
        unit: Of the values; ``x`` is a ratio.
        summary: Its repeats.
        baseline: What a ratio compares with; empty for a plain value.
        at_most: The figure asked for, where small is good.
        at_least: The figure asked for, where large is good.
    """

    name: str
    unit: str
    summary: Summary
    baseline: str = ""
    at_most: float | None = None
    at_least: float | None = None

    @property
    def asked(self) -> str:
        """The figure asked for, in words; empty where none was."""
        if self.at_most is not None:
            return f"at most {self.at_most:g} {self.unit}"
        return "" if self.at_least is None else f"at least {self.at_least:g} {self.unit}"

    @property
    def verdict(self) -> str:
        """``reached`` or ``not reached``, by the median; empty where nothing was asked for."""
        if not self.asked:
            return ""
        good = (self.at_most is None or self.summary.median <= self.at_most) and (
            self.at_least is None or self.summary.median >= self.at_least
        )
        return "reached" if good else "not reached"


def interleave(variants: Mapping[str, Callable[[], Result]], repeats: int) -> dict[str, list[Result]]:
    """Runs every variant once per repeat; who goes first changes from repeat to repeat.

    Returns:
        The results of each variant, in the order of repeats.
    """
    results: dict[str, list[Result]] = {name: [] for name in variants}
    names = list(variants)
    for repeat in range(repeats):
        for turn in range(len(names)):
            name = names[(repeat + turn) % len(names)]
            note(f"{repeat + 1} of {repeats}: {name}")
            results[name].append(variants[name]())
    return results


@dataclass(frozen=True)
class Child:
    """What a child process took.

    Attributes:
        seconds: From its start to its end.
        peak_mb: The most memory that it and its descendants held, in 10^6 bytes.
        output: What it wrote to stdout.
    """

    seconds: float
    peak_mb: float
    output: str


def run_child(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> Child:
    """Runs a command in the project's root to its end.

    Its memory is the larger of two readings: the kernel's exact peak of its largest process, and the sum over
    the process and its descendants, looked at five times a second.

    Raises:
        SystemExit: It failed; what it wrote to stderr is shown.
    """
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as messages:
        began = time.monotonic()
        child = subprocess.Popen(
            [str(word) for word in command],
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdout=output,
            stderr=messages,
        )
        summed, next_sum = 0, began
        while True:
            pid, status, usage = os.wait4(child.pid, os.WNOHANG)
            now = time.monotonic()
            if pid:
                break
            if now >= next_sum:
                summed, next_sum = max(summed, memory_of(child.pid)), now + _SAMPLE_EVERY
            time.sleep(_LOOK_EVERY)
        child.returncode = os.waitstatus_to_exitcode(status)  # or Popen would wait for it again
        if child.returncode:
            messages.seek(0)
            raise SystemExit(f"{' '.join(map(str, command))} failed:\n{messages.read()[-2000:]}")
        output.seek(0)
        unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
        return Child(now - began, max(summed, usage.ru_maxrss * unit) / 1e6, output.read())


def milliseconds(call: Callable[[], Any], seconds: float) -> list[float]:
    """What each of the calls took that fit into so many seconds; one before them, which prepares, is not counted."""
    call()
    took, began = [], time.perf_counter()
    while time.perf_counter() - began < seconds:
        start = time.perf_counter()
        call()
        took.append(1000 * (time.perf_counter() - start))
    return took


def memory_of(pid: int) -> int:
    """Resident bytes of a process and its descendants now."""
    total = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                total += one.memory_info().rss
    return total


def machine() -> str:
    """Cores, processor, memory and how busy the machine is now: without it a time says nothing."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    memory = psutil.virtual_memory().total / 1e9
    return f"{usable_cores()} cores of {model}, {memory:.0f} GB, load average {os.getloadavg()[0]:.2f} at the start"


def arguments(description: str, *, data: str, repeats: int) -> argparse.ArgumentParser:
    """The options of every benchmark.

    Args:
        description: What it measures.
        data: What ``--data`` is here.
        repeats: The default.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", type=Path, metavar="DIR", help=data)
    parser.add_argument("--repeats", type=int, default=repeats, help="How often each side runs. Default: %(default)s.")
    parser.add_argument("--json", action="store_true", help="Print JSON, and keep it in benchmarks/results/.")
    return parser


def note(text: str) -> None:
    """Tells the person at the terminal how far the measuring is."""
    print(text, file=sys.stderr, flush=True)


def report(benchmark: str, measured_on: str, on: str, figures: Sequence[Figure], *, as_json: bool) -> None:
    """Prints the figures; with ``as_json`` also keeps them in ``benchmarks/results``.

    Args:
        benchmark: The script's name.
        measured_on: What was put in, with its numbers.
        on: ``machine()`` at the start.
        figures: What was found.
        as_json: Whether to print JSON instead of a table.
    """
    if not as_json:
        print(f"{benchmark}: {measured_on}\n{on}\n")
        for figure in figures:
            print(_line(figure))
        return
    document: dict[str, Any] = {
        "benchmark": benchmark,
        "input": measured_on,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": on,
        "commit": commit(),
        "figures": [{**asdict(figure), "asked": figure.asked, "verdict": figure.verdict} for figure in figures],
    }
    text = json.dumps(document, indent=1)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{benchmark}.json").write_text(text + "\n")
    print(text)


def _line(figure: Figure) -> str:
    found = figure.summary
    value = f"{found.median:8.3g} {figure.unit:9} ({found.low:.3g} to {found.high:.3g}, n = {found.n})"
    asked = f"  {figure.asked}: {figure.verdict}" if figure.asked else ""
    return f"{value}  {figure.name}{f', baseline: {figure.baseline}' if figure.baseline else ''}{asked}"


def commit() -> str:
    """The commit that was measured; ``+`` where files differ from it."""
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty=+"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "unknown"
