"""The one place that touches the tensor library itself: loading it, threads, memory, device.

Everything else in training is Keras 3 without ``tf.*``, so that another Keras backend can take TensorFlow's
place. Nothing here is imported with this module: call ``load`` before importing Keras.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator

_LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"


def load(threads: int | None = None) -> None:
    """Loads Keras and its backend, quietly, and fixes what cannot be changed later.

    On a processor, a run with the same seed and number of threads repeats bit by bit; with another number it
    does not, because sums are split differently.

    Args:
        threads: For computing; None uses all. The first call in a process that computes decides.
    """
    with _quiet():
        import keras

        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            tf.get_logger().setLevel("ERROR")
            if threads is not None:
                with contextlib.suppress(RuntimeError):  # the process computes already, with what it began with
                    tf.config.threading.set_intra_op_parallelism_threads(threads)
                    tf.config.threading.set_inter_op_parallelism_threads(threads)
            for gpu in tf.config.list_physical_devices("GPU"):
                # Otherwise TensorFlow takes all of a GPU's memory, and a second process gets none.
                tf.config.experimental.set_memory_growth(gpu, True)
        # The first operation starts the devices, with the last of the messages.
        keras.ops.ones(1)


def device() -> str:
    """What training runs on, in words: ``CPU`` or the GPU's name."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        for gpu in tf.config.list_physical_devices("GPU"):
            return str(tf.config.experimental.get_device_details(gpu).get("device_name", "GPU"))
        return "CPU"
    return keras.distribution.list_devices()[0]


def gpu_peak_memory() -> int | None:
    """Most bytes of a GPU's memory that were in use at once; None without a GPU, or where the backend does not say."""
    import keras

    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    if not tf.config.list_physical_devices("GPU"):
        return None
    return int(tf.config.experimental.get_memory_info("GPU:0")["peak"])


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: of the machine, or, in the words of any backend, of the GPU."""
    words = f"{type(error).__name__}: {error}"
    return isinstance(error, MemoryError) or any(
        sign in words for sign in ("RESOURCE_EXHAUSTED", "ResourceExhausted", "OutOfMemory", "OOM when allocating")
    )


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
