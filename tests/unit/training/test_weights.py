"""Weights from a real server, that behaves well or badly, into a cache folder of the test's own."""

import errno
import hashlib
import os
import socket
import subprocess
import sys
from io import FileIO
from pathlib import Path

import numpy as np
import pytest

from fer_core import download
from fer_core.errors import FerError, ModelError, Stopped
from fer_core.training import weights
from tests.unit.file_server import serve

ROOT = Path(__file__).parents[3]
CONTENT = np.random.default_rng(1).bytes(300_000)
HALF = len(CONTENT) // 2
FILE = weights.WeightsFile("http://weights.invalid/tiny_notop.h5", hashlib.md5(CONTENT).hexdigest())


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The cache folder, and no proxy or mirror of the developer's; attempts follow one another at once."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY", "FER_WEIGHTS_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setitem(weights.WEIGHTS, "resnet50", FILE)
    monkeypatch.setattr(download, "_PAUSE", 0)
    return tmp_path / "keras" / "models"


@pytest.fixture
def server(cache, monkeypatch):
    with serve(CONTENT) as server:
        monkeypatch.setenv("FER_WEIGHTS_URL", server.url + "/")
        yield server


def place(folder, content, name=FILE.name):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def place_part(folder, content):
    place(folder, content, f"{FILE.name}.part")


def is_whole(path, cache):
    """The file is in its place, right, and nothing else lies there."""
    return path.read_bytes() == CONTENT and list(cache.iterdir()) == [path] == [cache / FILE.name]


def ranges(server):
    return [asked for _, asked in server.asked]


def stop_at_half(phase, done, total):
    if done >= HALF:
        raise Stopped("Stopped.")


@pytest.mark.parametrize("architecture", ["resnet50v2", "resnet50", "efficientnetv2b0"])
def test_files_are_those_that_keras_asks_for(architecture, monkeypatch):
    from keras.src.applications import efficientnet_v2, resnet, resnet_v2

    class Asked(Exception):
        pass

    def get_file(name, url, cache_subdir, file_hash):
        raise Asked(name, url, cache_subdir, file_hash)

    build = {
        "resnet50v2": resnet_v2.ResNet50V2,
        "resnet50": resnet.ResNet50,
        "efficientnetv2b0": efficientnet_v2.EfficientNetV2B0,
    }
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", get_file)
    with pytest.raises(Asked) as asked:
        build[architecture](include_top=False, weights="imagenet", input_shape=(32, 32, 3))
    file = weights.WEIGHTS[architecture]
    assert asked.value.args == (file.name, file.url, file.path.parent.name, file.md5)


def test_folder_is_that_of_keras(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", "~/elsewhere")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert weights.cache_folder() == tmp_path / "elsewhere" / "models"
    monkeypatch.delenv("KERAS_HOME")
    assert weights.cache_folder() == tmp_path / ".keras" / "models"
    monkeypatch.setattr(weights.os, "access", lambda path, mode: False)  # root may write everywhere
    assert weights.cache_folder() == Path("/tmp/.keras/models")


def test_download_reports_bytes_and_is_found_afterwards(server, cache):
    assert weights.find("resnet50") is None
    seen = []
    path = weights.fetch("resnet50", lambda *report: seen.append(report))
    assert is_whole(path, cache)
    assert server.asked == [(f"/{FILE.name}", None)]
    assert {phase for phase, _, _ in seen} == {f"Downloading {FILE.name}"}
    done = [done for _, done, _ in seen]
    assert done == sorted(done)
    assert seen[-1][1:] == (len(CONTENT), len(CONTENT))
    assert weights.find("resnet50") == weights.fetch("resnet50") == path
    assert len(server.asked) == 1


def test_a_found_file_is_hashed_once_until_it_changes(cache, monkeypatch):
    place(cache, CONTENT)
    hashed, real = [], download._hash
    monkeypatch.setattr(download, "_hash", lambda *file: hashed.append(file) or real(*file))
    assert weights.find("resnet50") == weights.find("resnet50") == cache / FILE.name
    assert len(hashed) == 1
    place(cache, bytes(len(CONTENT)))
    os.utime(cache / FILE.name, (1, 1))
    assert weights.find("resnet50") is weights.find("resnet50") is None
    assert len(hashed) == 2


def test_a_damaged_file_in_the_cache_is_replaced(server, cache):
    place(cache, CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]))
    assert weights.find("resnet50") is None
    assert is_whole(weights.fetch("resnet50"), cache)


def test_stopped_download_asks_only_for_the_rest(server, cache):
    with pytest.raises(Stopped):
        weights.fetch("resnet50", stop_at_half)
    kept = (cache / f"{FILE.name}.part").stat().st_size
    assert HALF <= kept <= len(CONTENT)
    server.asked.clear()
    assert is_whole(weights.fetch("resnet50"), cache)
    assert ranges(server) == ([f"bytes={kept}-"] if kept < len(CONTENT) else [])


def test_slow_download_is_stopped_at_what_has_arrived(server, cache):
    server.gate.clear()
    with pytest.raises(Stopped):
        weights.fetch("resnet50", stop_at_half)
    assert (cache / f"{FILE.name}.part").read_bytes() == CONTENT[:HALF]


def test_a_connection_that_falls_silent_is_made_anew(server, cache, monkeypatch):
    monkeypatch.setattr(download, "_TIMEOUT", 0.5)
    server.gate.clear()

    def open_gate_at_second_attempt(phase, done, total):
        if done and not total:
            server.gate.set()

    assert is_whole(weights.fetch("resnet50", open_gate_at_second_attempt), cache)
    assert ranges(server) == [None, f"bytes={HALF}-"]


def test_a_dropped_connection_goes_on_where_it_ended(server, cache):
    server.drops = [1000, 2000, 0, 3000]
    assert is_whole(weights.fetch("resnet50"), cache)
    assert ranges(server) == [None, "bytes=1000-", "bytes=3000-", "bytes=3000-", "bytes=6000-"]


def test_a_server_that_is_busy_for_a_moment_is_asked_again(server, cache):
    server.drops, server.answers = [1000], [None, 503]
    assert is_whole(weights.fetch("resnet50"), cache)
    assert ranges(server) == [None, "bytes=1000-", "bytes=1000-"]


def test_a_connection_that_brings_nothing_new_is_given_up_and_the_part_kept(server, cache):
    server.drops = [1000] + 100 * [0]
    with pytest.raises(ModelError, match="connection ended early"):
        weights.fetch("resnet50")
    assert ranges(server) == [None] + download._RETRIES * ["bytes=1000-"]
    assert (cache / f"{FILE.name}.part").read_bytes() == CONTENT[:1000]


@pytest.mark.parametrize("part", [CONTENT[:1000], CONTENT + b"more"], ids=["shorter", "longer"])
def test_a_server_without_ranges_sends_all(server, cache, part):
    server.ranges = False
    place_part(cache, part)
    assert is_whole(weights.fetch("resnet50"), cache)
    assert ranges(server) == [f"bytes={len(part)}-"]


def test_a_server_without_ranges_that_drops_sends_all_again(server, cache):
    server.ranges, server.drops = False, [2000, 1000]
    assert is_whole(weights.fetch("resnet50"), cache)
    assert ranges(server) == [None, "bytes=2000-", "bytes=1000-"]


def test_a_server_that_says_no_length(server, cache):
    server.says_length = False
    seen = []
    assert is_whole(weights.fetch("resnet50", lambda *report: seen.append(report)), cache)
    assert seen[-1][1:] == (len(CONTENT), 0)


def test_a_complete_part_needs_no_server(cache):
    place_part(cache, CONTENT)
    assert is_whole(weights.fetch("resnet50"), cache)


@pytest.mark.parametrize("part", [CONTENT + b"more", bytes(len(CONTENT))], ids=["longer", "as long"])
def test_a_part_that_reaches_beyond_the_file_is_given_up(server, cache, part):
    place_part(cache, part)
    assert is_whole(weights.fetch("resnet50"), cache)
    assert ranges(server) == [f"bytes={len(part)}-", None]


def test_wrong_content_is_deleted_and_told(server, cache):
    server.content = b"<html>Please log in</html>"
    with pytest.raises(ModelError, match=f"(?s)another file.*{FILE.md5}.*start again.*{FILE.name}") as error:
        weights.fetch("resnet50")
    assert server.url in str(error.value)
    assert list(cache.iterdir()) == []


def test_a_file_that_is_not_there_is_asked_for_once(server, cache):
    server.answers = [404]
    with pytest.raises(ModelError, match=r"404 Not Found.*--set weights=none"):
        weights.fetch("resnet50")
    assert len(server.asked) == 1
    assert list(cache.iterdir()) == []


def test_a_file_that_is_gone_after_a_dropped_connection_is_not_asked_for_again(server, cache):
    server.drops, server.answers = [1000], [None, 404]
    with pytest.raises(ModelError, match="404 Not Found"):
        weights.fetch("resnet50")
    assert len(server.asked) == 2


def test_no_network_says_which_file_goes_where(cache, monkeypatch):
    with socket.socket() as bound:  # bound and not listening: refused
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        monkeypatch.setenv("FER_WEIGHTS_URL", url)
        with pytest.raises(ModelError) as error:
            weights.fetch("resnet50")
    assert str(error.value) == (
        f"{url}/{FILE.name} cannot be downloaded (Connection refused): put {FILE.name} into the folder {cache} "
        "yourself, or start with --set weights=none."
    )
    assert list(cache.iterdir()) == []  # the folder is there to put it in
    place(cache, CONTENT)
    assert weights.fetch("resnet50") == cache / FILE.name


@pytest.mark.parametrize("address", ["mirror", "http://", "http://a b", "nothing://here"])
def test_a_mirror_that_is_no_address(cache, monkeypatch, address):
    monkeypatch.setenv("FER_WEIGHTS_URL", address)
    with pytest.raises(ModelError, match="cannot be downloaded"):
        weights.fetch("resnet50")


def test_the_proxy_of_the_environment_is_used(server, cache, monkeypatch):
    monkeypatch.delenv("FER_WEIGHTS_URL")
    monkeypatch.setenv("http_proxy", server.url)
    assert is_whole(weights.fetch("resnet50"), cache)
    assert server.asked == [(FILE.url, None)]


def test_full_disk_keeps_nothing_and_is_told(server, cache, monkeypatch):
    class Full(FileIO):
        """Takes less than it is given, and then nothing."""

        def write(self, piece):
            if self.tell() >= 5000:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(piece[:2500])

    monkeypatch.setattr(download, "FileIO", Full)
    with pytest.raises(FerError, match=f"{FILE.name}.part: the disk is full"):
        weights.fetch("resnet50")
    assert list(cache.iterdir()) == []


def test_a_disk_that_takes_less_than_it_is_given_loses_nothing(server, cache, monkeypatch):
    class Reluctant(FileIO):
        def write(self, piece):
            return super().write(piece[:7001])

    monkeypatch.setattr(download, "FileIO", Reluctant)
    assert is_whole(weights.fetch("resnet50"), cache)


def test_a_cache_that_cannot_be_made(tmp_path, cache, monkeypatch):
    place(tmp_path, b"", "file")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "file"))
    assert weights.find("resnet50") is None
    with pytest.raises(FerError, match=str(tmp_path / "file")):
        weights.fetch("resnet50")


FETCHING = f"""
import sys
from fer_core import download
from fer_core.training import weights
weights.WEIGHTS["resnet50"] = weights.WeightsFile({FILE.url!r}, {FILE.md5!r})
download._PAUSE = 0.01
seen = set()
def progress(phase, done, total):
    for word in [phase.split()[0], "Half"][: 1 + (done >= {HALF})]:
        if word not in seen:
            seen.add(word)
            print(word, flush=True)
print(weights.fetch("resnet50", progress))
assert not {{"keras", "tensorflow", "streamlit"}} & sys.modules.keys()
"""


@pytest.fixture
def start():
    """Starts a process that fetches; it prints the first word of each phase, Half when it has that, and the path."""
    started = []

    def start():
        started.append(subprocess.Popen([sys.executable, "-c", FETCHING], cwd=ROOT, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def test_of_two_processes_one_downloads_and_the_other_waits(server, cache, start):
    server.gate.clear()
    first = start()
    assert [first.stdout.readline() for _ in range(2)] == ["Downloading\n", "Half\n"]
    second = start()
    assert second.stdout.readline() == "Waiting\n"
    server.gate.set()
    assert first.communicate()[0] == second.communicate()[0] == f"{cache / FILE.name}\n"
    assert first.returncode == second.returncode == 0
    assert is_whole(cache / FILE.name, cache)
    assert ranges(server) == [None]


def test_a_waiting_process_goes_on_with_the_part_of_one_that_was_killed(server, cache, start):
    server.gate.clear()
    first = start()
    assert [first.stdout.readline() for _ in range(2)] == ["Downloading\n", "Half\n"]
    second = start()
    assert second.stdout.readline() == "Waiting\n"
    first.kill()
    assert second.stdout.readline() == "Downloading\n"
    server.gate.set()
    assert second.communicate()[0].splitlines()[-1] == str(cache / FILE.name)
    assert is_whole(cache / FILE.name, cache)
    assert ranges(server) == [None, f"bytes={HALF}-"]


def test_a_part_that_another_process_removed_before_it_was_locked_is_made_anew(server, cache, monkeypatch):
    taken, real = [], download.take_lock

    def take_lock(path):
        descriptor = real(path)
        if not taken:
            path.unlink()
        taken.append(descriptor)
        return descriptor

    monkeypatch.setattr(download, "take_lock", take_lock)
    assert is_whole(weights.fetch("resnet50"), cache)
    assert len(taken) == 2


def test_locate(server, cache, tmp_path, monkeypatch):
    assert weights.locate("none", "resnet50") is None
    assert is_whole(weights.locate("imagenet", "resnet50"), cache)
    place(tmp_path, b"weights", "own.h5")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert weights.locate("~/own.h5", "compact") == tmp_path / "own.h5"
    for missing in ("~/none.h5", "~"):
        with pytest.raises(ModelError, match=f"{tmp_path}.*no such weights file; .*imagenet or none"):
            weights.locate(missing, "resnet50")
    with pytest.raises(ModelError, match=r"no ImageNet weights.*'compact'.*weights=none"):
        weights.locate("imagenet", "compact")
