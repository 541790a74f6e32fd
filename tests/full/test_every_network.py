"""The networks whose export takes up to half a minute each."""

import pytest

from tests.unit.models import test_export


@pytest.mark.parametrize(
    ("preset", "changes"),
    [
        ("teacher", {}),
        ("teacher", {"architecture": "vgg"}),
        ("teacher", {"architecture": "resnet18", "attention": 16}),
        ("resnet50v2", {"side": 64}),
        ("resnet50", {"side": 64, "pixels": "imagenet-caffe"}),
        ("efficientnetv2b0", {"side": 40}),
    ],
)
def test_every_network_is_exported_from_native_pictures(tmp_path, preset, changes):
    test_export.test_every_network_is_exported_from_native_pictures(tmp_path, preset, changes)
