"""ONNX files of other programs: what is made of them answers as they do, in our order; what is unclear is refused."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from fer_core.emotions import EMOTIONS
from fer_core.errors import ModelError
from fer_core.evaluation.orders import ORDERS
from fer_core.inference.adopt import adopt
from fer_core.inference.conventions import Stated
from fer_core.inference.foreign_onnx import adapt
from fer_core.inference.predictor import Predictor
from tests.unit.foreign_models import PATCH, Foreign
from tests.unit.inference.test_adopt import another_file, custom_operation, endless
from tests.unit.served_models import write_brightness_model

ALPHABETICAL = ORDERS["alphabetical"]
OWN_ORDER = ("neutral", "happy", "surprise", "sad", "angry", "disgust", "fear")
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def pictures(side, channels, n=70):
    """Noise on squares of one shade."""
    random = np.random.default_rng(0)
    squares = random.integers(0, 200, (n, side // PATCH, side // PATCH, channels)).repeat(PATCH, 1).repeat(PATCH, 2)
    return (squares + random.integers(0, 56, squares.shape)).astype(np.uint8)


@pytest.mark.parametrize(
    ("made", "scale", "brought"),
    [
        # PyTorch's default: one picture at a time, channels first, logits
        (Foreign(), None, lambda x: x / 255),
        (Foreign(batch=4, last="LogSoftmax", names=("probabilities", "own/x")), "-1-1", lambda x: x / 127.5 - 1),
        # tf2onnx': any number, channels last, a softmax; its output has the name of ours
        (Foreign(64, 3, False, None, "Softmax", names=("x", "probabilities")), None, lambda x: x / 255),
        (Foreign(64, 3, batch=None), "imagenet-torch", lambda x: (x / 255 - MEAN) / DEVIATION),
        (Foreign(48, 3), "imagenet-caffe", lambda x: x[..., ::-1] - [103.939, 116.779, 123.68]),
        # it rescales bytes itself, which is seen
        (Foreign(before=("Div", 255.0)), None, lambda x: x / 255),
        (Foreign(before=("Mul", 1 / 255)), None, lambda x: x / 255),
        (Foreign(first=False, batch=None, kind=TensorProto.UINT8, opset=12, last=""), None, lambda x: x),
        (Foreign(kind=TensorProto.FLOAT16), "0-255", lambda x: x),
    ],
)
def test_it_answers_as_the_same_network_by_numpy(tmp_path, made, scale, brought):
    file = made.write(tmp_path / "theirs.onnx")
    weights = sum(array.size for array in made.weights()) + bool(made.before)
    outcome = adapt(file, Stated(order=OWN_ORDER, scale=scale))
    assert outcome.input.model_dump() == {"height": made.side, "width": made.side, "channels": made.channels}
    assert outcome.parameters.total == weights
    seen = pictures(made.side, made.channels)
    wanted = made.answers(brought(seen.astype(np.float64)), OWN_ORDER)
    assert np.ptp(wanted, axis=0).max() > 0.1  # they are told apart
    np.testing.assert_allclose(Predictor.load(file).classify(seen), wanted, atol=1e-3)
    assert any("logits" in note for note in outcome.notes) == (made.last != "Softmax")


def test_a_file_of_the_newest_format_is_written_in_one_that_is_read(tmp_path):
    file = Foreign().write(tmp_path / "theirs.onnx")
    model = onnx.load(file)
    model.ir_version = onnx.IR_VERSION  # which ONNX writes unless told, and ONNX Runtime may not read yet
    onnx.save(model, file)
    adapt(file, Stated(order=OWN_ORDER, scale=None))
    assert onnx.load(file).ir_version < onnx.IR_VERSION


def test_a_network_for_any_size_is_handed_fer2013s(tmp_path):
    pooled = helper.make_node("GlobalAveragePool", ["relu"], ["pooled"])
    file = Foreign(None, batch=None).write(tmp_path / "theirs.onnx")
    model = onnx.load(file)
    place = next(place for place, node in enumerate(model.graph.node) if node.op_type == "Reshape")
    model.graph.node[place].input[0] = "pooled"
    model.graph.node.insert(place, pooled)
    onnx.save(model, file)
    outcome = adapt(file, Stated(order=EMOTIONS, scale=None))
    assert (outcome.input.height, outcome.input.width) == (48, 48)
    assert "handed over at 48 x 48 pixels" in outcome.notes[-1]


def test_order_and_scale_are_found_on_pictures(tmp_path):
    made = Foreign()
    file, seen = made.write(tmp_path / "theirs.onnx"), pictures(48, 1, 400)
    labels = made.answers(seen / 127.5 - 1, ALPHABETICAL).argmax(axis=1)
    np.savez(tmp_path / "samples.npz", images=seen, labels=labels)
    stated = Stated(order=None, scale=None, samples=tmp_path / "samples.npz", source="pictures of mine")
    outcome = adapt(file, stated)
    assert "alphabetical order fits 100 %" in outcome.notes[0]
    assert "with pixel values -1-1" in outcome.notes[0]
    assert (Predictor.load(file).classify(seen).argmax(axis=1) == labels).all()


def test_a_scale_at_which_it_gives_no_numbers_is_not_its_own(tmp_path):
    made = Foreign(before=("Pow", 0.5))
    file, seen = made.write(tmp_path / "theirs.onnx"), pictures(48, 1, 400)
    labels = made.answers(np.sqrt(seen / 255), ALPHABETICAL).argmax(axis=1)
    np.savez(tmp_path / "samples.npz", images=seen, labels=labels)
    outcome = adapt(file, Stated(order=ALPHABETICAL, scale=None, samples=tmp_path / "samples.npz", source="pictures"))
    assert "with pixel values 0-1" in outcome.notes[0]


@pytest.mark.parametrize(("mean", "scale"), [(127.0, "0-255"), (0.5, "0-1")])
def test_a_first_batch_normalization_tells_the_pixel_values(tmp_path, mean, scale):
    file = Foreign().write(tmp_path / "theirs.onnx")
    model = onnx.load(file)
    learnt = {"scale": 1, "offset": 0, "mean": mean, "variance": mean**2}
    model.graph.initializer.extend(onnx.numpy_helper.from_array(np.float32([n]), name) for name, n in learnt.items())
    model.graph.node.insert(0, helper.make_node("BatchNormalization", ["input", *learnt], ["brought"]))
    model.graph.node[1].input[0] = "brought"
    onnx.save(model, file)
    assert f"taken to be {scale}," in adapt(file, Stated(order=OWN_ORDER, scale=None)).notes[0]


def test_numbers_of_any_kind_are_read_and_counted(tmp_path):
    made = Foreign(before=("Div", 255.0))
    file, seen = made.write(tmp_path / "theirs.onnx"), pictures(48, 1)
    model = onnx.load(file)
    kernel, dense, rows, number = model.graph.initializer
    numbers = {entry.name: onnx.numpy_helper.to_array(entry) for entry in (kernel, dense, rows, number)}
    dense.CopyFrom(onnx.numpy_helper.from_array(numbers["dense"].astype(np.float64), "wide"))
    model.graph.node.insert(0, helper.make_node("Cast", ["wide"], ["dense"], to=TensorProto.FLOAT))
    # As PyTorch's newer exporter writes them.
    model.graph.node.insert(0, helper.make_node("Constant", [], ["rows"], value_ints=numbers["rows"].tolist()))
    model.graph.node.insert(0, helper.make_node("Constant", [], ["number"], value_float=255.0))
    model.graph.initializer.remove(number)
    model.graph.initializer.remove(rows)
    onnx.save(model, file)
    outcome = adapt(file, Stated(order=OWN_ORDER, scale=None))
    assert "the model rescales them itself" in outcome.notes[0]
    assert outcome.parameters.total == numbers["kernel"].size + numbers["dense"].size
    np.testing.assert_allclose(Predictor.load(file).classify(seen), made.answers(seen / 255, OWN_ORDER), atol=1e-4)


def test_a_file_that_follows_the_contract_stays_as_it_is(tmp_path):
    file = write_brightness_model(tmp_path / "ours.onnx")
    content = file.read_bytes()
    assert adapt(file, Stated(order=EMOTIONS, scale=None)).notes == []
    assert file.read_bytes() == content


def changed(change, **attributes):
    """A file as PyTorch exports it by default, but for something."""

    def make():
        made = Foreign(**attributes)

        def write(path):
            model = onnx.load(made.write(path))
            change(model)
            onnx.save(model, path)

        return write

    make.__name__ = change.__name__
    return make()


def another_input(model):
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1, 7]))


def another_output(model):
    model.graph.output.append(helper.make_tensor_value_info("relu", TensorProto.FLOAT, None))


def sized(*sizes, kind=TensorProto.FLOAT):
    def change(model):
        model.graph.input[0].CopyFrom(helper.make_tensor_value_info("input", kind, sizes))

    return change


def one_row(model):
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("logits", TensorProto.FLOAT, [7]))


def a_constant_of_no_name(model):
    model.graph.node.insert(0, helper.make_node("Constant", [], [], value=helper.make_tensor("v", 1, [], [1.0])))


def without_a_declared_output(model):
    model.graph.output[0].type.tensor_type.ClearField("shape")


def of_version(opset):
    def change(model):
        model.opset_import[0].version = opset

    return change


def built_in_batch(model):
    """The number of pictures is in a constant that no reshaping reads."""
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros((1, 7), np.float32), "token"))
    node = model.graph.node[-1]
    node.output[0] = "x"
    model.graph.node.append(helper.make_node("Concat", ["x", "token"], ["both"], axis=1))
    model.graph.node.append(helper.make_node("Split", ["both"], ["logits", "rest"], axis=1))


def reshaped_by_another_size(model):
    """A first size of one that is not the number of pictures, as inside PyTorch's attention."""
    node = model.graph.node[-1]
    node.output[0] = "x"
    shapes = {"turned": np.array([7, -1]), "one": np.array([1, 7, -1]), "back": np.array([-1, 7])}
    for name, shape in shapes.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(shape, name))
        model.graph.node.append(helper.make_node("Reshape", [model.graph.node[-1].output[0], name], [f"{name}_x"]))
    model.graph.node[-1].output[0] = "logits"


def in_percent(model):
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(100), "hundred"))
    model.graph.node[-1].output[0] = "share"
    model.graph.node.append(helper.make_node("Mul", ["share", "hundred"], ["logits"]))


def never_a_number(model):
    weights = model.graph.initializer[1]
    weights.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weights) * np.nan, weights.name))


@pytest.mark.parametrize(
    ("write", "told"),
    [
        (Foreign(outputs=8).write, "gives 8 outputs; expected 7, one for each of angry.*made for other classes"),
        (changed(without_a_declared_output, outputs=8), r"\['N', 8\]; expected \[N, 7\].*made for other classes"),
        (changed(one_row), r"the model gives float \[7\]; expected \[N, 7\]"),
        (changed(a_constant_of_no_name), "damaged, cut short"),
        (changed(another_input), "the model has 2 inputs and 1 output; expected one picture and one output"),
        (changed(another_output), "1 input and 2 outputs"),
        (changed(sized(1, 3, 48, 1)), r"reads float \[1, 3, 48, 1\]; which of its axes the channels are is not clear"),
        (changed(sized("N", 48, 48, 2)), r"reads float \[any, 48, 48, 2\]; expected one picture"),
        (changed(sized(1, 1, 48, "w")), "expected one picture"),
        (changed(sized(1, 2304)), r"reads float \[1, 2304\]; expected one picture"),
        (changed(sized(1, 1, 48, 48, kind=TensorProto.INT64)), r"reads int64 \[1, 1, 48, 48\]; expected one picture"),
        (changed(sized(1, 1, 5000, 5000)), "at most 1024 pixels are served"),
        (changed(sized(200, 1, 48, 48)), "reads 200 pictures at a time, and that number is built in"),
        (changed(built_in_batch), "reads 1 picture at a time, and that number is built in"),
        (changed(reshaped_by_another_size), "reads 1 picture at a time, and that number is built in"),
        (changed(never_a_number), "not all numbers"),
        (changed(in_percent, last="Softmax"), "its outputs always add up to 100, not one"),
        (changed(of_version(99)), "written in a newer version of ONNX than ONNX Runtime"),
        (changed(of_version(6)), "opset 6 of ONNX. Export it with opset 13 or newer"),
        (Foreign(last="Sigmoid").write, "last operation is Sigmoid, so it gives neither probabilities"),
        (lambda path: path.write_bytes(another_file()), "lie in another file, which is not read.*external_data=False"),
        (lambda path: path.write_bytes(custom_operation()), "custom operation"),
        (lambda path: path.write_bytes(endless()), "holds a Loop"),
        (lambda path: path.write_bytes(b"<html></html>"), "damaged, cut short|0 inputs"),
    ],
)
def test_what_is_unclear_or_unsafe_is_refused(tmp_path, write, told):
    file = tmp_path / "theirs.onnx"
    write(file)
    with pytest.raises(ModelError, match=told) as caught:
        adapt(file, Stated(order=ALPHABETICAL, scale=None))
    assert str(caught.value).startswith(f"{file}: ")


def test_bytes_are_not_scaled(tmp_path):
    file = Foreign(kind=TensorProto.UINT8).write(tmp_path / "theirs.onnx")
    with pytest.raises(ModelError, match="reads whole numbers, so its pixel values are 0-255, not 0-1"):
        adapt(file, Stated(order=ALPHABETICAL, scale="0-1"))


def test_it_is_adopted_with_a_card_that_says_what_was_assumed(workspace, tmp_path):
    made = Foreign(before=("Div", 255.0))
    content = made.write(tmp_path / "theirs.onnx").read_bytes()
    model = adopt(content, "mine", workspace, source="theirs.onnx", stated=Stated(order=OWN_ORDER, scale=None))
    assert f"Labels as stated: {', '.join(OWN_ORDER)}." in model.card.notes
    assert any("taken to be 0-255, the model rescales them itself" in note for note in model.card.notes)
    assert model.card.temperature == 1
    seen = pictures(48, 1, 3)
    np.testing.assert_allclose(Predictor.load(model).classify(seen), made.answers(seen / 255, OWN_ORDER), atol=1e-4)
    eight = Foreign(outputs=8).write(tmp_path / "bad.onnx").read_bytes()
    with pytest.raises(ModelError, match=r"^bad\.onnx: the model gives 8 outputs"):
        adopt(eight, "bad", workspace, source="bad.onnx", stated=Stated(order=OWN_ORDER, scale=None))
    assert [entry.name for entry in workspace.models.iterdir()] == ["mine"]


def test_without_an_order_it_is_told_how_to_import_it(workspace, tmp_path):
    file = Foreign().write(tmp_path / "theirs.onnx")
    told = r"made elsewhere .*: python -m fer_core models import FILE --labels ORDER"
    with pytest.raises(ModelError, match=told):
        Predictor.load(file)
    with pytest.raises(ModelError, match=told):
        adopt(file.read_bytes(), "mine", workspace, source="theirs.onnx")
