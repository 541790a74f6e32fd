"""The processes, on one or several machines, that train one run together. Loads no training framework."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Final

from fer_core.errors import ConfigError

JOB_KIND: Final = "train-process"
"""Kind of the job of every process but the first, whose job is the run itself."""

_ADDRESS: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:(?P<port>\d{1,5}))?")


@dataclass(frozen=True)
class Cluster:
    """One process' view of them.

    Attributes:
        meeting_point: ``host:port`` of the first process, where all of them meet.
        processes: How many there are.
        process: Which one this is, from 0. Process 0 holds the run; the others keep nothing.
    """

    meeting_point: str
    processes: int
    process: int

    @property
    def first(self) -> bool:
        """Whether this process holds the run."""
        return self.process == 0

    @classmethod
    def from_options(cls, hosts: str, process: int | None) -> Cluster:
        """Reads ``--hosts`` and ``--process-id``.

        Args:
            hosts: Addresses with commas between, one per process; the first with the port where all meet.
            process: Which of them this one is.

        Raises:
            ConfigError: They do not fit together, or another backend than JAX is chosen.
        """
        addresses = [address.strip() for address in hosts.split(",")]
        found = [_ADDRESS.fullmatch(address) for address in addresses]
        if not all(found) or len(addresses) < 2:
            raise ConfigError(
                f"--hosts {hosts!r}: expected at least two addresses with commas between, one per process, such as "
                "first-host:9000,second-host."
            )
        port = found[0]["port"] if found[0] else None
        if port is None or not 0 < int(port) < 2**16:
            raise ConfigError(
                f"--hosts {hosts!r}: the first address needs a free port where the processes meet, such as "
                f"{addresses[0].partition(':')[0]}:9000."
            )
        if process is None or not 0 <= process < len(addresses):
            raise ConfigError(
                f"--process-id: found {process}, expected the place of this process in --hosts, 0 to "
                f"{len(addresses) - 1}; 0 is the one on {addresses[0]}, which keeps the run."
            )
        if os.environ.get("KERAS_BACKEND") != "jax":
            raise ConfigError(
                "Several processes train one run with the JAX backend only: install requirements-jax.txt and set "
                "KERAS_BACKEND=jax on every host."
            )
        return cls(addresses[0], len(addresses), process)
