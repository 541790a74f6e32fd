"""Files that were written down elsewhere, and the images that they mean."""

import tracemalloc

import pytest

from fer_core.errors import FerError
from fer_core.evaluation.matching import match

PATHS = ["test/happy/im0.png", "test/sad/im0.png", "test/sad/PrivateTest_7.jpg", "im9.png"]


@pytest.mark.parametrize(
    ("file", "image"),
    [
        ("test/happy/im0.png", 0),
        ("happy/im0.png", 0),  # shorter
        ("/home/me/fer/test/sad/im0.png", 1),  # longer
        (r"C:\fer\test\sad\im0.png", 1),
        ("./test//sad/im0.png", 1),
        ("PrivateTest_7.jpg", 2),  # by name
        ("angry/PrivateTest_7.jpg", 2),  # in another folder, but the only one of its name
        ("somewhere/im9.png", 3),
    ],
)
def test_by_the_end_of_the_path_or_by_name(file, image):
    found = match([file], PATHS)
    assert (found.files.tolist(), found.images.tolist()) == ([0], [image])
    assert not found.unknown
    assert not found.unclear


def test_what_means_no_image_or_several_is_told():
    found = match(["im0.png", "happy/im1.png", "", "sad/im0.png"], PATHS)
    assert (found.files.tolist(), found.images.tolist()) == ([3], [1])
    assert found.unclear == ["im0.png"]
    assert found.unknown == ["happy/im1.png", ""]


def test_a_name_says_nothing_where_several_files_have_it():
    found = match(["train/PrivateTest_7.jpg", "other/PrivateTest_7.jpg"], PATHS)
    assert found.unknown == ["train/PrivateTest_7.jpg", "other/PrivateTest_7.jpg"]


def test_the_whole_path_comes_before_an_ending():
    assert match(["1.png", "a/1.png"], ["a/1.png", "1.png"]).images.tolist() == [1, 0]


def test_two_images_of_one_path_are_not_guessed():
    assert match(["1.png"], ["1.png", "1.png"]).unclear == ["1.png"]


def test_two_files_of_one_image_are_refused():
    with pytest.raises(FerError, match=r"sad/im0\.png and /x/test/sad/im0\.png both mean the image test/sad/im0\.png"):
        match(["sad/im0.png", "/x/test/sad/im0.png"], PATHS)


def test_order_is_kept_where_files_are_shuffled():
    found = match([PATHS[2], PATHS[0], "nothing", PATHS[1]], PATHS)
    assert found.files.tolist() == [0, 1, 3]
    assert found.images.tolist() == [2, 0, 1]


def test_a_file_that_is_very_deep_takes_no_more_memory_than_its_end():
    tracemalloc.start()
    try:
        found = match(["a/" * 20_000 + "test/sad/im0.png"], PATHS)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.images.tolist() == [1]
    assert most < 10 * 2**20
