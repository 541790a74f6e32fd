"""The one place that touches the tensor library itself: loading it, threads, memory, devices, distribution.

Everything else in training is Keras 3 without ``tf.*``, so that another Keras backend can take TensorFlow's
place. Nothing here is imported with this module: call ``load`` before importing Keras.

A batch can be shared by several devices of this machine (TensorFlow or JAX) and by several processes (JAX). Each
device holds all weights and computes its part of the batch; the mean gradient is that of the whole batch, and so are
the statistics of batch normalisation under JAX.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from fer_core.errors import ConfigError, FerError
from fer_core.training.cluster import Cluster

if TYPE_CHECKING:
    import keras

    from fer_core.training.config import RunConfig

_LOG_LEVEL: Final = "TF_CPP_MIN_LOG_LEVEL"

_SILENT_SECONDS: Final = 30
"""After so long without a sign of life, a process of a cluster counts as lost."""

_LATE_SECONDS: Final = 24 * 3600
"""So long a process waits for the others; a person ends it earlier."""


@dataclass
class _Placement:
    """Where this process computes.

    Attributes:
        devices: How many share a batch, in all processes together.
        processes: How many there are.
        process: Which one this is, from 0.
        strategy: TensorFlow's, where it shares batches.
    """

    devices: int = 1
    processes: int = 1
    process: int = 0
    strategy: Any = None


_placement = _Placement()
_joined = False  # whether other processes know this one
_local_calls: dict[int, tuple[Any, Callable[..., Any]]] = {}


def load(
    threads: int | None = None,
    devices: int | None = 1,
    cluster: Cluster | None = None,
    waiting: Callable[[], None] = lambda: None,
) -> None:
    """Loads Keras and its backend, quietly, and fixes what cannot be changed later.

    On a processor, a run with the same seed and number of threads repeats bit by bit; with another number it
    does not, because sums are split differently.

    Args:
        threads: For computing, under TensorFlow; None uses all. The first call in a process that computes decides.
        devices: Of this machine that share each batch; None is every GPU, or the processor as one device. More than
            one on a machine without GPU divides the processor, which is good for trials only.
        cluster: The processes that train together, under JAX; each uses all its devices.
        waiting: Called twice a second until all processes are there; what it raises ends the waiting.

    Raises:
        ConfigError: There are not so many devices, or the backend cannot share batches.
        FerError: The processes do not find each other.
    """
    with _quiet():
        import keras

        name = keras.backend.backend()
        if name == "tensorflow":
            _prepare_tensorflow(threads)
    if cluster:
        _meet(cluster, waiting)
    with _quiet():
        if name == "jax":
            _place_jax(devices, cluster)
        elif name == "tensorflow":
            _place_tensorflow(devices)
        elif devices not in (None, 1):
            raise ConfigError(f"devices: found {devices}, but with the backend {name} it is always 1. Use devices=1.")
        # The first operation starts the devices, with the last of the messages.
        keras.ops.ones(1)


def _prepare_tensorflow(threads: int | None) -> None:
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")
    if threads is not None:
        with contextlib.suppress(RuntimeError):  # the process computes already, with what it began with
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
    for gpu in tf.config.list_physical_devices("GPU"):
        # Otherwise TensorFlow takes all of a GPU's memory, and a second process gets none.
        tf.config.experimental.set_memory_growth(gpu, True)


def _place_tensorflow(devices: int | None) -> None:
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    wanted = _counted(devices, len(gpus))
    if wanted > 1:
        if not gpus:
            parts = [tf.config.LogicalDeviceConfiguration()] * wanted
            tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], parts)
        found = [device.name for device in tf.config.list_logical_devices("GPU" if gpus else "CPU")]
        _placement.strategy = tf.distribute.MirroredStrategy(found[:wanted])
    _placement.devices = wanted


def _place_jax(devices: int | None, cluster: Cluster | None) -> None:
    import jax
    import keras

    if cluster:
        _placement.processes, _placement.process = cluster.processes, cluster.process
        found = jax.devices()
    else:
        with contextlib.suppress(RuntimeError):  # the devices are started already
            if devices and devices > 1:
                jax.config.update("jax_num_cpu_devices", devices)  # says nothing about GPUs
        local = jax.local_devices()
        found = local[: _counted(devices, len(local))]
    _placement.devices = len(found)
    if len(found) > 1:
        names = [f"{device.platform}:{device.id}" for device in found]
        # Each process hands over its own part of a batch (``auto_shard_dataset`` is for datasets of tf.data).
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=names, auto_shard_dataset=False))


def _counted(devices: int | None, found: int) -> int:
    """How many devices to use of those that were found; none is found where a processor can be divided at will."""
    if devices is None:
        return max(1, found)
    if found and devices > found:
        raise ConfigError(f"devices: found {devices}, but this machine has {found}. Use devices={found} or leave it.")
    return devices


def _meet(cluster: Cluster, waiting: Callable[[], None]) -> None:
    """Joins the processes of a run; returns when all of them are there."""
    global _joined
    import jax

    jax.config.update("jax_enable_recoverability", True)  # or JAX aborts this process when another one is lost
    failure: list[BaseException] = []

    def join() -> None:
        try:
            # Keras' own `keras.distribution.initialize` is this call without its times and without the address to
            # bind to: it would listen on every network of this machine.
            jax.distributed.initialize(
                cluster.meeting_point,
                cluster.processes,
                cluster.process,
                cluster_detection_method="deactivate",
                coordinator_bind_address=cluster.meeting_point,
                initialization_timeout=_LATE_SECONDS,
                heartbeat_timeout_seconds=_SILENT_SECONDS,
            )
        except Exception as error:
            failure.append(error)

    # In a thread, so that this one goes on hearing whether to stop.
    joining = threading.Thread(target=join, daemon=True)
    joining.start()
    _joined = True
    while joining.is_alive():
        waiting()
        joining.join(0.5)
    if failure:
        raise FerError(
            f"The processes of this run did not meet at {cluster.meeting_point} ({str(failure[0])[:200]}). Check that "
            "it is the address of the first host, that its port is free, and that no firewall is between them."
        )


def scope() -> contextlib.AbstractContextManager[Any]:
    """Within it a network must be built and trained, so that its weights lie on all devices."""
    return _placement.strategy.scope() if _placement.strategy else contextlib.nullcontext()


def devices() -> int:
    """How many devices share a batch, in all processes together."""
    return _placement.devices


def processes() -> int:
    """How many processes train together."""
    return _placement.processes


def process() -> int:
    """Which of them this one is, from 0."""
    return _placement.process


def device() -> str:
    """What training runs on, in words: ``CPU`` or the GPU's name, and how many where it is more than one."""
    import keras

    name = "CPU"
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        for gpu in tf.config.list_physical_devices("GPU")[:1]:
            name = str(tf.config.experimental.get_device_details(gpu).get("device_name", "GPU"))
    elif keras.backend.backend() == "jax":
        import jax

        first = jax.local_devices()[0]
        name = "CPU" if first.platform == "cpu" else first.device_kind
    else:
        import torch

        name = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    return name if _placement.devices == 1 else f"{_placement.devices} x {name}"


def usual_precision() -> str:
    """What to compute in unless told: mixed on a GPU, bfloat16 where it is fast there; float32 on a processor."""
    import keras

    name = keras.backend.backend()
    if name == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        ability = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability") if gpus else None
    elif name == "jax":
        import jax

        first = jax.local_devices()[0]
        words = str(getattr(first, "compute_capability", "")).split(".") if first.platform == "gpu" else []
        ability = tuple(map(int, words)) if words and all(map(str.isdigit, words)) else None
        gpus = [first] * (first.platform == "gpu")
    else:
        import torch

        gpus = [0] * torch.cuda.is_available()
        ability = torch.cuda.get_device_capability() if gpus else None
    if not gpus:
        return "float32"
    return "mixed_bfloat16" if ability and ability >= (8, 0) else "mixed_float16"


def settled(config: RunConfig) -> RunConfig:
    """Settings with what ``auto`` comes to on this machine."""
    return config.model_copy(update={"precision": usual_precision()}) if config.precision == "auto" else config


def answers(model: keras.Model, batch: NDArray[Any]) -> NDArray[np.float32]:
    """What a network in inference mode says of a batch, computed by this process alone.

    Args:
        model: It has one output.
        batch: Of any length.
    """
    if _placement.devices == 1:
        return model.predict_on_batch(batch)
    if _placement.strategy:
        # `predict_on_batch` would compute the whole batch on every device and return it as often.
        return model.predict(batch, batch_size=len(batch), verbose=0)
    if _placement.processes == 1:
        rest = -len(batch) % _placement.devices
        return model.predict_on_batch(np.concatenate([batch, batch[:1].repeat(rest, axis=0)]))[: len(batch)]
    return _answers_here(model, batch)


def _answers_here(model: keras.Model, batch: NDArray[Any]) -> NDArray[np.float32]:
    """``answers`` on this process' own first device: Keras' methods would need all processes."""
    import jax

    if id(model) not in _local_calls:

        def call(trainable: list[Any], rest: list[Any], x: Any) -> Any:
            return model.stateless_call(trainable, rest, x, training=False)[0]

        _local_calls[id(model)] = model, jax.jit(call)
    _, compiled = _local_calls[id(model)]
    state = [
        [variable.value.addressable_data(0) for variable in variables]
        for variables in (model.trainable_variables, model.non_trainable_variables)
    ]
    return np.asarray(compiled(*state, jax.device_put(batch, jax.local_devices()[0])))


def gathered(part: NDArray[np.float32], sizes: list[int]) -> NDArray[np.float32]:
    """The parts of all processes, one after the other. All of them must call it.

    Args:
        part: This process' own, ``[n, k]``.
        sizes: How many rows each process has.
    """
    if _placement.processes == 1:
        return part
    from jax.experimental import multihost_utils

    padded = np.zeros((max(sizes), *part.shape[1:]), part.dtype)
    padded[: len(part)] = part
    every = np.asarray(multihost_utils.process_allgather(padded))
    return np.concatenate([rows[:size] for rows, size in zip(every, sizes, strict=True)])


def told(words: str | None) -> str | None:
    """What process 0 says, in every process. All of them must call it; without a cluster, ``words``."""
    if _placement.processes == 1:
        return words
    content = np.frombuffer(b"" if words is None else b"=" + words.encode(), np.uint8)
    size = int(_of_first(np.array(len(content), np.int32)))
    buffer = np.zeros(size, np.uint8)
    if _placement.process == 0:
        buffer[:] = content
    return _of_first(buffer)[1:].tobytes().decode() if size else None


def all_say(words: str) -> list[str]:
    """What every process says, in order. All of them must call it."""
    if _placement.processes == 1:
        return [words]
    from jax.experimental import multihost_utils

    content = np.zeros(2000, np.uint8)
    encoded = np.frombuffer(words.encode()[:2000], np.uint8)
    content[: len(encoded)] = encoded
    return [
        row.astype(np.uint8).tobytes().rstrip(b"\0").decode(errors="replace")
        for row in np.asarray(multihost_utils.process_allgather(content))
    ]


def assign(variables: Sequence[keras.Variable], values: Iterable[NDArray[Any]] | None) -> None:
    """Sets variables to what process 0 has. All processes must call it: none can set them alone.

    Args:
        variables: The same ones in every process.
        values: In their order; None in all processes but the first.
    """
    zeros = (np.zeros(variable.shape, variable.dtype) for variable in variables)
    for variable, value in zip(variables, values or zeros, strict=True):
        variable.assign(_of_first(value))


def _of_first(value: NDArray[Any]) -> NDArray[Any]:
    if _placement.processes == 1:
        return value
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.broadcast_one_to_all(value)).astype(value.dtype)


def leave(*, alone: bool = False) -> None:
    """Ends the work together, when training is over: what follows is computed by each process alone.

    Args:
        alone: The others are still at it, and are left to notice.
    """
    global _placement, _joined
    import keras

    if _placement.devices > 1 and keras.backend.backend() == "jax":
        keras.distribution.set_distribution(None)
    if alone:
        leave_at_once(0)
    elif _joined:
        import jax

        jax.distributed.shutdown()
    _joined = False
    _local_calls.clear()
    _placement = _Placement()


def leave_at_once(code: int) -> None:
    """Lets this process end, when it ends, without waiting for the others, who may be in the middle of a step.

    JAX would wait for them for minutes. They notice that the connection is gone.

    Args:
        code: What the process then exits with.
    """
    if not _joined:
        return

    def end() -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

    atexit.register(end)  # the last one registered is called first


def can_accumulate() -> bool:
    """Whether gradients can be added up over batches here: with Keras on TensorFlow, not on several devices."""
    return _placement.strategy is None


def exports() -> bool:
    """Whether this process can write ONNX files: only under TensorFlow."""
    import keras

    return keras.backend.backend() == "tensorflow"


def has_tensorflow() -> bool:
    """Whether TensorFlow is installed; it is not loaded."""
    return importlib.util.find_spec("tensorflow") is not None


def gpu_peak_memory() -> int | None:
    """Most bytes of the first GPU's memory that were in use at once; None without a GPU."""
    import keras

    name = keras.backend.backend()
    if name == "tensorflow":
        import tensorflow as tf

        if not tf.config.list_physical_devices("GPU"):
            return None
        return int(tf.config.experimental.get_memory_info("GPU:0")["peak"])
    if name == "jax":
        import jax

        first = jax.local_devices()[0]
        return None if first.platform == "cpu" else int((first.memory_stats() or {})["peak_bytes_in_use"])
    import torch

    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: of the machine, or, in the words of any backend, of the GPU."""
    signs = ("RESOURCE_EXHAUSTED", "ResourceExhausted", "OutOfMemory", "OOM when allocating")
    words = f"{type(error).__name__}: {error}"
    return isinstance(error, MemoryError) or any(sign in words for sign in signs)


def process_lost(error: BaseException) -> bool:
    """Whether an error says that another process of the run is gone."""
    signs = ("gloo", "nccl", "connection", "coordination service", "heartbeat", "unavailable", "deadline_exceeded")
    cause: BaseException | None = error
    while cause and _placement.processes > 1:
        if any(sign in str(cause).lower() for sign in signs):
            return True
        cause = cause.__context__  # Keras tidies up after an error, and fails at that
    return False


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what native code writes to stderr while it loads, and shows it only if that fails.

    The log level alone does not do it: messages from before absl's initialisation ignore it
    (tensorflow/tensorflow issue 100442). Who sets the level sees everything.
    """
    if os.environ.get(_LOG_LEVEL):
        yield
        return
    os.environ[_LOG_LEVEL] = "2"  # no information and warnings later on either
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as messages:
        os.dup2(messages.fileno(), 2)
        try:
            yield
        except BaseException:
            messages.seek(0)
            os.write(kept, messages.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
