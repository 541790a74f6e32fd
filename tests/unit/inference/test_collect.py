"""Pictures from files, folders and archives, hostile ones too."""

import os
import zipfile

import pytest

from fer_core import limits
from fer_core.errors import FerError
from fer_core.inference.collect import ZippedPictures, collect, count


def _link():
    info = zipfile.ZipInfo("link.jpg")
    info.external_attr = 0o120777 << 16
    return info


HOSTILE = {
    "climbs out": ("../evil.jpg", b"x", "leaves the archive"),
    "climbs out from below": ("a/../../evil.jpg", b"x", "leaves the archive"),
    "absolute": ("/tmp/evil.jpg", b"x", "absolute"),
    "drive": ("C:/evil.jpg", b"x", "absolute"),
    "backslashes": ("..\\evil.jpg", b"x", "leaves the archive"),
    "link": (_link(), b"/etc/passwd", "a link"),
    "huge": ("huge.png", bytes(65 * 2**20), "too large for a picture"),
}


@pytest.mark.parametrize(("entry", "content", "message"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_entry_is_an_error_and_nothing_is_written(tmp_path, monkeypatch, entry, content, message):
    inside = tmp_path / "inside"
    inside.mkdir()
    monkeypatch.chdir(inside)
    with zipfile.ZipFile("a.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr(entry, content)
        archive.writestr("good.jpg", b"good")
    before = sorted(tmp_path.rglob("*"))
    pictures = list(collect([inside / "a.zip"]))
    assert sorted(tmp_path.rglob("*")) == before
    (bad,) = [picture for picture in pictures if picture.error]
    assert message in bad.error
    assert bad.data == b""
    assert [picture.data for picture in pictures if not picture.error] == [b"good"]


def test_a_bomb_of_many_entries_is_refused_as_a_whole(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(5):
            archive.writestr(f"{number}.png", bytes(60 * 2**20))
    (refused,) = collect([tmp_path / "bomb.zip"])
    assert "decompression bomb" in refused.error


def empty_entries(file, number):
    """An archive of very many entries and next to no bytes, which lies about their number."""
    with zipfile.ZipFile(file, "w") as archive:
        for place in range(number):
            archive.writestr(f"{place}.png", b"")
    data = bytearray(file.read_bytes())
    data[-14:-10] = (1).to_bytes(2, "little") * 2  # both counts of the end record
    file.write_bytes(data)
    return file


def test_an_archive_of_too_many_entries_is_refused_before_they_are_listed(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "ENTRIES", 50)
    assert count([empty_entries(tmp_path / "a.zip", 50)]) == 50
    bomb = empty_entries(tmp_path / "b.zip", 51)
    monkeypatch.setattr(zipfile, "ZipInfo", None)  # nothing is made of an entry
    assert count([bomb]) == 1
    (refused,) = collect([bomb])
    assert refused.error == f"{bomb}: more than 50 entries. Unpack it into a folder, or make several of it."
    with bomb.open("rb") as file:  # as an upload comes
        assert "more than 50 entries" in ZippedPictures(file, "b.zip")[0].error


def test_a_directory_of_few_entries_and_very_long_comments_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "ENTRIES", 50)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for place in range(2):
            info = zipfile.ZipInfo(f"{place}.png")
            info.comment = bytes(60_000)
            archive.writestr(info, b"")
    (refused,) = collect([tmp_path / "a.zip"])
    assert "more than 50 entries" in refused.error


@pytest.mark.parametrize("content", [b"", b"no zip", "cut"], ids=["empty", "text", "cut short"])
def test_a_broken_archive_is_one_error(tmp_path, content):
    file = tmp_path / "a.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.jpg", b"x" * 1000)
    file.write_bytes(file.read_bytes()[:500] if content == "cut" else content)
    (broken,) = collect([file])
    assert "not a zip archive, or it is damaged" in broken.error


def test_a_damaged_entry_does_not_stop_the_others(tmp_path):
    file = tmp_path / "a.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.jpg", b"AAAA" * 100)
        archive.writestr("b.jpg", b"BBBB")
    file.write_bytes(file.read_bytes().replace(b"AAAA" * 50, b"AAAC" * 50, 1))
    first, second = collect([file])
    assert "damaged in the archive" in first.error
    assert second.data == b"BBBB"


def test_folders_are_walked_in_order_and_other_files_passed_over(tmp_path):
    for name in ("b.JPG", "a.png", "notes.txt", ".hidden.jpg", "sub/c.webp", ".git/d.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "circle").symlink_to(tmp_path)
    assert [picture.data for picture in collect([tmp_path])] == [b"a.png", b"b.JPG", b"sub/c.webp"]


def test_archives_skip_what_a_mac_adds(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("__MACOSX/._a.jpg", "._a.jpg", "x/", "x/a.jpg", "readme.md"):
            archive.writestr(name, b"x")
    with (tmp_path / "a.zip").open("rb") as file:  # as an upload comes
        assert [picture.path for picture in ZippedPictures(file, "upload.zip")] == ["upload.zip/x/a.jpg"]


def test_a_path_that_is_not_there_stops_before_anything_is_read(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    with pytest.raises(FerError, match=r"nope\.jpg: no such file or folder"):
        collect([tmp_path / "a.jpg", tmp_path / "nope.jpg"])


@pytest.mark.parametrize("name", ["x" * 300, "x/" * 3000, "a\0b"], ids=["long name", "long path", "NUL"])
def test_a_path_that_cannot_be_is_an_error_in_words(tmp_path, name):
    for ask in (collect, count):
        with pytest.raises(FerError, match=r"(?i)(name too long|no such file or folder)"):
            ask([tmp_path / name])


def test_what_is_no_regular_file_is_an_error_not_a_wait(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (picture,) = collect([tmp_path / "pipe.jpg"])
    assert "not a regular file" in picture.error


def test_a_pipe_is_not_waited_for_whatever_its_name(tmp_path):
    os.mkfifo(tmp_path / "a.zip")
    (picture,) = collect([tmp_path / "a.zip"])
    assert "not a regular file" in picture.error


def test_a_name_that_is_no_text_is_given_in_a_printable_form(tmp_path):
    (tmp_path / "ok\udcff.png").write_bytes(b"data")  # \udcff is how Python reads the byte ff in a name
    (tmp_path / "gone\udcff.png").symlink_to("nowhere")
    gone, ok = collect([tmp_path])
    assert (ok.path, ok.data) == (f"{tmp_path}/ok\ufffd.png", b"data")
    assert gone.path == f"{tmp_path}/gone\ufffd.png"
    assert gone.path in gone.error


ORDERS = "\x1b]0;yours\x07\x1b[2J\r\n\x9b31m"  # to a terminal: rename the window, clear the screen, new line, red


def test_names_give_no_orders_to_a_terminal(tmp_path):
    (tmp_path / f"{ORDERS}.png").write_bytes(b"data")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in (f"{ORDERS}.png", f"../{ORDERS}.png"):
            archive.writestr(name, b"data")
    pictures = [*collect([tmp_path]), *collect([tmp_path / "a.zip"])]
    assert len(pictures) == 3
    for picture in pictures:
        assert (picture.path + (picture.error or "")).isprintable()
    with pytest.raises(FerError) as caught:
        collect([tmp_path / ORDERS])
    assert str(caught.value).isprintable()
