"""What training takes of the machine."""

from __future__ import annotations

from typing import Any

import psutil


class Machine:
    """This process and the machine's NVIDIA GPUs, from now on. A look takes under a millisecond."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._process.cpu_percent()  # the first answer says nothing: it has no interval
        self._gpus = _gpus()

    def use(self) -> dict[str, float]:
        """``cpu_percent`` since the last look (100 is one core) and ``memory_bytes`` held now.

        With a GPU also ``gpu_percent``, the share of the last moments in which it computed (the mean of several), and
        ``gpu_memory_bytes``, what is taken of all of them, also by others.
        """
        with self._process.oneshot():
            use = {"cpu_percent": self._process.cpu_percent(), "memory_bytes": self._process.memory_info().rss}
        return use | self._gpu_use()

    def _gpu_use(self) -> dict[str, float]:
        if not self._gpus:
            return {}
        import pynvml

        try:
            shares = [pynvml.nvmlDeviceGetUtilizationRates(gpu).gpu for gpu in self._gpus]
            taken = [pynvml.nvmlDeviceGetMemoryInfo(gpu).used for gpu in self._gpus]
        except pynvml.NVMLError:  # a part of a divided GPU does not tell, and a driver can be updated under us
            self._gpus = []
            return {}
        return {"gpu_percent": sum(shares) / len(shares), "gpu_memory_bytes": sum(taken)}


def _gpus() -> list[Any]:
    """Handles of the machine's GPUs; none where the driver is missing."""
    import pynvml

    try:
        pynvml.nvmlInit()
        return [pynvml.nvmlDeviceGetHandleByIndex(number) for number in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError:
        return []
