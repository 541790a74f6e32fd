"""What a run will take on this machine, reckoned from what was measured on it. Loads no training framework."""

from __future__ import annotations

from dataclasses import dataclass

from fer_core.training.config import PhaseConfig, RunConfig
from fer_core.training.runs import trained_phases
from fer_core.training.speeds import Network, PhaseSpeed, Pictures, Speeds, network_of, work_of


@dataclass(frozen=True)
class Estimate:
    """What a run will take.

    Attributes:
        seconds: From its start, once the device is free, to its model.
        memory: Most bytes it will hold; None where its batch size was not measured.
        gpu_memory: Likewise of the GPU; None without one.
        at_most: Whether it may end earlier, because a phase may stop early.
        exact: Whether its very batch sizes were measured, and not only others.
        busy: Whether other programs kept the machine busy meanwhile, so that it may take less.
    """

    seconds: float
    memory: int | None
    gpu_memory: int | None
    at_most: bool
    exact: bool
    busy: bool


def estimate(config: RunConfig, pictures: Pictures, speeds: Speeds) -> Estimate | None:
    """What a run will take; None where one of its phases was not measured on this machine.

    Args:
        config: Its settings.
        pictures: Of its dataset.
        speeds: What was measured.
    """
    phases, network = trained_phases(config), network_of(config, pictures.shape)
    works = [work_of(network, phase) for phase in phases]
    found = [speeds.phase(work) for work in works]
    measured = [speed for speed in found if speed is not None]
    if len(measured) < len(phases) or not phases:
        return None
    whole = speeds.network(network)
    seconds = whole.seconds if whole else 0.0
    for phase, speed in zip(phases, measured, strict=True):
        part = _phase_seconds(phase, speed, pictures, _score(network, speeds, measured))
        if part is None:
            return None
        seconds += part
    exact = all(speed.work == work for speed, work in zip(measured, works, strict=True))
    used = [speed.memory for speed in measured] + ([whole.memory] if whole else [])
    gpu = [speed.gpu_memory for speed in measured if speed.gpu_memory is not None]
    return Estimate(
        seconds=seconds,
        memory=max(used) + pictures.bytes if exact else None,
        gpu_memory=max(gpu) if exact and gpu else None,
        at_most=any(phase.early_stopping for phase in phases),
        exact=exact,
        busy=any(speed.busy for speed in measured),
    )


def _phase_seconds(phase: PhaseConfig, speed: PhaseSpeed, pictures: Pictures, score: float | None) -> float | None:
    """Of all epochs of a phase, and of computing the frozen part's features before them, where that is done once."""
    epoch = pictures.train / speed.train + pictures.validation / speed.score
    features = 0.0
    if speed.once:
        if score is None:
            return None
        features = pictures.count_both / score
    return speed.start_seconds + phase.epochs * epoch + features


def _score(network: Network, speeds: Speeds, measured: list[PhaseSpeed]) -> float | None:
    """Images per second of the whole network without training."""
    whole = speeds.network(network)
    return (whole and whole.score) or next((speed.score for speed in measured if not speed.once), None)
