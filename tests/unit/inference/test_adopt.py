"""Models of strangers: what is taken, what is refused and in which words, and that nothing is left behind then."""

import json
import pickle
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fer_core import limits
from fer_core.emotions import EMOTIONS
from fer_core.errors import FerError, ModelError
from fer_core.inference import adopt as adopting
from fer_core.inference import trial
from fer_core.inference.adopt import adopt, suggest_name
from fer_core.inference.conventions import Samples, Stated
from fer_core.inference.predictor import Predictor
from fer_core.inference.served import IMPORTED, default_model, find_model, list_models
from tests.unit.served_models import CENTRES, write_brightness_model


@pytest.fixture
def content(tmp_path):
    """A small model that follows the contract."""
    return write_brightness_model(tmp_path / "brightness.onnx").read_bytes()


def made_of(nodes, *, constants=(), shape=("N", 16, 16, 1), domains=(), functions=()):
    """An ONNX file whose nodes read ``image`` and give ``probabilities``."""
    graph = helper.make_graph(
        list(nodes),
        "hostile",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 7])],
        list(constants),
    )
    opsets = [helper.make_opsetid(domain, version) for domain, version in (("", 18), *domains)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9, functions=list(functions))
    return model.SerializeToString()


def constant(name, value):
    return numpy_helper.from_array(np.asarray(value), name)


MEAN = (
    helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
    helper.make_node("ReduceMean", ["float", "axes"], ["mean"]),
    helper.make_node("Reshape", ["mean", "column"], ["level"]),
)
"""The mean gray level of every picture, ``level`` ``[N, 1]``."""
MEAN_CONSTANTS = (constant("axes", np.array([1, 2, 3])), constant("column", np.array([-1, 1])))


def another_file():
    """Weights in another file of the server."""
    weights = constant("centres", np.zeros((1, 7), np.float32))
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="../../../../etc/passwd")
    return made_of(
        [*MEAN, helper.make_node("Sub", ["level", "centres"], ["probabilities"])], constants=[*MEAN_CONSTANTS, weights]
    )


def another_file_in_an_attribute():
    weights = constant("value", np.zeros((1, 7), np.float32))
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="/etc/passwd")
    nodes = [helper.make_node("Constant", [], ["centres"], value=weights)]
    return made_of(
        [*MEAN, *nodes, helper.make_node("Sub", ["level", "centres"], ["probabilities"])], constants=MEAN_CONSTANTS
    )


def endless():
    """A loop whose condition never turns false."""
    true = helper.make_node("Constant", [], ["go_on"], value=helper.make_tensor("v", TensorProto.BOOL, [], [True]))
    body = helper.make_graph(
        [true, helper.make_node("Identity", ["x"], ["x_out"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("condition", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x_out", TensorProto.FLOAT, None),
        ],
    )
    loop = helper.make_node("Loop", ["", "", "level"], ["last"], body=body)
    tiled = helper.make_node("Tile", ["last", "seven"], ["probabilities"])
    return made_of([*MEAN, loop, tiled], constants=[*MEAN_CONSTANTS, constant("seven", np.array([1, 7]))])


def hidden_loop():
    """The same inside a branch that no picture takes."""
    inner = onnx.load_from_string(endless()).graph.node[3]
    branch = helper.make_graph([inner], "branch", [], [helper.make_tensor_value_info("last", TensorProto.FLOAT, None)])
    never = helper.make_node("Constant", [], ["never"], value=helper.make_tensor("v", TensorProto.BOOL, [], [False]))
    choice = helper.make_node("If", ["never"], ["chosen"], then_branch=branch, else_branch=branch)
    tiled = helper.make_node("Tile", ["chosen", "seven"], ["probabilities"])
    return made_of([*MEAN, never, choice, tiled], constants=[*MEAN_CONSTANTS, constant("seven", np.array([1, 7]))])


def custom_operation():
    node = helper.make_node("Shell", ["image"], ["probabilities"], domain="evil.example")
    return made_of([node], domains=[("evil.example", 1)])


def much_memory():
    """Asks for 40 GB when it runs, from a file of a few hundred bytes."""
    filled = helper.make_node("ConstantOfShape", ["huge"], ["many"])
    total = helper.make_node("ReduceSum", ["many"], ["sum"], keepdims=0)
    added = helper.make_node("Add", ["level", "sum"], ["x"])
    tiled = helper.make_node("Tile", ["x", "seven"], ["probabilities"])
    constants = [*MEAN_CONSTANTS, constant("huge", np.array([10**10])), constant("seven", np.array([1, 7]))]
    return made_of([*MEAN, filled, total, added, tiled], constants=constants)


def claims_many_weights():
    """Declares 40 GB of weights and holds none."""
    weights = TensorProto(name="centres", data_type=TensorProto.FLOAT, dims=[10**5, 10**5])
    return made_of(
        [*MEAN, helper.make_node("Sub", ["level", "centres"], ["probabilities"])], constants=[*MEAN_CONSTANTS, weights]
    )


def huge_pictures():
    nodes = [*MEAN, helper.make_node("Sub", ["level", "centres"], ["probabilities"])]
    constants = [*MEAN_CONSTANTS, constant("centres", np.zeros((1, 7), np.float32))]
    return made_of(nodes, constants=constants, shape=("N", 10**5, 10**5, 1))


def no_softmax():
    nodes = [*MEAN, helper.make_node("Sub", ["level", "centres"], ["probabilities"])]
    return made_of(nodes, constants=[*MEAN_CONSTANTS, constant("centres", np.zeros((1, 7), np.float32))])


def looks_at_its_neighbours():
    """Normalises by the batch, as a network exported in training mode does."""
    nodes = [
        *MEAN,
        helper.make_node("ReduceMean", ["level"], ["of_all"], keepdims=0),
        helper.make_node("Sub", ["level", "of_all"], ["centred"]),
        helper.make_node("Mul", ["centred", "slopes"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
    ]
    return made_of(nodes, constants=[*MEAN_CONSTANTS, constant("slopes", np.arange(7, dtype=np.float32)[None])])


LEVEL = (*MEAN, helper.make_node("ReduceSum", ["mean", "first"], ["sum"], keepdims=0))
"""The same, and ``sum``, a number."""


def chosen_picture(*nodes, constants=(), **more):
    """``extra`` is added to the logits, a number that ``nodes`` make in a way that only some pictures bring out."""
    chain = [
        *LEVEL,
        helper.make_node("Reshape", ["sum", "line"], ["sums"]),
        helper.make_node("Cast", ["sums"], ["whole"], to=TensorProto.INT64),
        *nodes,
        helper.make_node("Add", ["level", "extra"], ["x"]),
        helper.make_node("Mul", ["x", "slopes"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
    ]
    known = {"first": np.arange(4), "line": np.array([1]), "slopes": np.zeros((1, 7), np.float32)}
    made = [constant(name, value) for name, value in known.items()]
    return made_of(chain, constants=[*MEAN_CONSTANTS, *made, *constants], **more)


def total(name):
    return helper.make_node("ReduceSum", [name], ["extra"], keepdims=0)


def as_many_as_the_gray_level():
    return chosen_picture(helper.make_node("ConstantOfShape", ["whole"], ["many"]), total("many"))


def repeated_as_often_as_the_gray_level():
    return chosen_picture(helper.make_node("Tile", ["sums", "whole"], ["many"]), total("many"))


def as_many_as_there_are_bright_pixels():
    return chosen_picture(
        helper.make_node("NonZero", ["float"], ["places"]),
        helper.make_node("Cast", ["places"], ["numbers"], to=TensorProto.FLOAT),
        total("numbers"),
    )


def branch_for_one_picture():
    """A branch that makes 40 GB, of a size that is a constant, taken on one gray level."""
    huge = helper.make_graph(
        [
            helper.make_node("Constant", [], ["size"], value=constant("v", np.array([10**10]))),
            helper.make_node("ConstantOfShape", ["size"], ["much"]),
            helper.make_node("ReduceSum", ["much"], ["a"], keepdims=0),
        ],
        "huge",
        [],
        [helper.make_tensor_value_info("a", TensorProto.FLOAT, [])],
    )
    none = helper.make_graph(
        [helper.make_node("Constant", [], ["b"], value=constant("v", np.float32(0)))],
        "none",
        [],
        [helper.make_tensor_value_info("b", TensorProto.FLOAT, [])],
    )
    return chosen_picture(
        helper.make_node("Equal", ["whole", "secret"], ["now"]),
        helper.make_node("If", ["now"], ["extra"], then_branch=huge, else_branch=none),
        constants=[constant("secret", np.array([137]))],
    )


def once_in_a_while():
    """Decided by chance, which no trial can rule out."""
    return chosen_picture(
        helper.make_node("RandomUniform", [], ["chance"], shape=[1], high=9.0),
        helper.make_node("Cast", ["chance"], ["size"], to=TensorProto.INT64),
        helper.make_node("ConstantOfShape", ["size"], ["many"]),
        total("many"),
    )


def its_own_operation():
    """A function whose attribute has weights of another file for its default."""
    weights = constant("value", np.zeros(1, np.float32))
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="/etc/passwd")
    node = helper.make_node("Constant", [], ["y"])
    node.attribute.add(name="value", ref_attr_name="value", type=onnx.AttributeProto.TENSOR)
    default = helper.make_attribute("value", weights)
    opsets = [helper.make_opsetid("", 18)]
    function = helper.make_function("", "Own", [], ["y"], [node], opsets, attribute_protos=[default])
    return chosen_picture(helper.make_node("Own", [], ["extra"]), functions=[function])


def as_large_as_the_batch(each):
    """So many numbers for every picture; sizes like this are in our own gradients and in PyTorch's views."""
    return chosen_picture(
        helper.make_node("Shape", ["level"], ["size"]),
        helper.make_node("Mul", ["size", "each"], ["sizes"]),
        helper.make_node("ConstantOfShape", ["sizes"], ["zeros"]),
        total("zeros"),
        constants=[constant("each", np.array([each, 1]))],
    )


def test_sizes_that_follow_the_number_of_pictures_are_fine(workspace):
    assert adopt(as_large_as_the_batch(1), "mine", workspace, source="a.onnx").name == "mine"


def test_operations_in_any_order_are_seen_through():
    model = onnx.load_from_string(as_many_as_the_gray_level())
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(reversed(nodes))
    assert trial._sized_by_pixels(model) == "ConstantOfShape"


PLACES = {
    *("ArrayFeatureExtractor", "Gather", "GatherElements", "GatherND", "Scatter", "ScatterElements", "ScatterND"),
    *("TensorScatter", "RoiAlign", "ReverseSequence", "RotaryEmbedding", "Attention", "GRU", "LSTM", "RNN"),
    *("CumSum", "CumProd", "Trilu", "NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss", "QLinearConv"),
}
"""Operations to which whole numbers are places in what they are given, or values: no size comes of these."""


def test_no_operation_of_the_standard_that_reads_sizes_is_forgotten():
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain not in ("", "ai.onnx.ml") or schema.name in PLACES or schema.name in trial._OPEN_ENDED:
            continue
        first = 1 if schema.name.startswith(trial._REDUCED) else trial._SIZES.get(schema.name, len(schema.inputs))
        for place, entry in enumerate(schema.inputs):
            if entry.types and set(entry.types) <= {"tensor(int64)", "tensor(int32)"}:
                assert place >= first or entry.name == "I", (schema.name, entry.name)  # I: places of MaxUnpool


def of_kind(**changes):
    def make(tmp_path):
        return write_brightness_model(tmp_path / "other.onnx", **changes).read_bytes()

    return make


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (another_file, "lie in another file, which is not read"),
        (another_file_in_an_attribute, "lie in another file, which is not read"),
        (custom_operation, r"custom operation evil\.example\.Shell, which is not run"),
        (endless, "holds a Loop, which may never end"),
        (hidden_loop, "holds a Loop, which may never end"),
        (as_many_as_the_gray_level, "its ConstantOfShape computes depends on what is in a picture"),
        (repeated_as_often_as_the_gray_level, "its Tile computes depends on what is in a picture"),
        (as_many_as_there_are_bright_pixels, "its NonZero computes depends on what is in a picture"),
        (branch_for_one_picture, "its If computes depends on what is in a picture"),
        (once_in_a_while, "its ConstantOfShape computes depends on"),
        (its_own_operation, "an operation of its own, Own, which is not run"),
        (much_memory, "model failed|ended without a result"),
        (claims_many_weights, "damaged, cut short|ended without a result"),
        (huge_pictures, "at most 1024 pixels are served"),
        (no_softmax, "not probabilities that add up to one"),
        (looks_at_its_neighbours, "differently for a picture alone than among others"),
        (of_kind(softness=float("nan")), "not all numbers"),
        (of_kind(classes=5), "made for other classes"),
        (of_kind(dtype=TensorProto.FLOAT), "expected one input, uint8"),
        (of_kind(output="dense_7"), "no output is named 'probabilities'"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_what_cannot_be_served_or_trusted_is_refused(workspace, tmp_path, make, told):
    bad = make(tmp_path) if make.__code__.co_argcount else make()
    with pytest.raises(ModelError, match=told) as caught:
        adopt(bad, "bad", workspace, source="their <b>model</b>.onnx")
    message = str(caught.value)
    assert message.startswith("their <b>model</b>.onnx: ")
    assert str(workspace.root) not in message
    assert not list(workspace.models.iterdir())


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (b"", "the file is empty"),
        (np.random.default_rng(0).bytes(10_000), "no ONNX model|expected one input"),
        (b"\x89HDF\r\n\x1a\n" + b"0" * 100, "a Keras .h5 file, not an ONNX file.*models import FILE --labels"),
        (b"PK\x03\x04" + b"0" * 100, "a zip archive.*models import FILE --labels"),
        (pickle.dumps({"weights": [1, 2]}), "a pickle, which is code and is never loaded"),
        (b"<html></html>", "no ONNX model|expected one input"),
    ],
    ids=["empty", "random", "h5", "keras", "pickle", "web page"],
)
def test_what_is_no_onnx_file_is_refused(workspace, bad, told):
    with pytest.raises(ModelError, match=told):
        adopt(bad, "bad", workspace, source="a.onnx")
    assert list_models(workspace) == [default_model(workspace)]


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_file_that_is_cut_short_is_refused(workspace, content, share):
    with pytest.raises(ModelError, match=r"^a\.onnx: "):
        adopt(content[: int(share * len(content))], "bad", workspace, source="a.onnx")


@pytest.mark.parametrize("stated", [None, Stated(order=tuple(sorted(EMOTIONS)), scale=None)])
def test_a_file_of_which_a_name_is_no_text_is_told_to_be_damaged(workspace, content, stated):
    node = next(node for node in onnx.load_from_string(content).graph.node if node.attribute)
    for name in (node.output[0].encode(), node.attribute[0].name.encode()):  # read here, and by ONNX Runtime alone
        assert name in content
        damaged = content.replace(name, b"\xff" * len(name), 1)
        with pytest.raises(ModelError, match=r"^a\.onnx: .*damaged"):
            adopt(damaged, "bad", workspace, source="a.onnx", stated=stated)


def test_a_file_that_is_too_large_is_refused_before_anything_else(workspace, monkeypatch):
    monkeypatch.setattr(adopting, "MAX_BYTES", 2**20)
    with pytest.raises(ModelError, match="2 MiB; models of up to 1 MiB are taken"):
        adopt(bytes(2 * 2**20), "bad", workspace, source="a.onnx")


def test_a_model_that_takes_too_long_is_stopped(workspace, content, monkeypatch):
    monkeypatch.setattr(limits, "MODEL_SECONDS", 0.01)
    monkeypatch.setattr(adopting, "DETECTION_SECONDS", 0.01)
    samples = Samples(SimpleNamespace(images=np.zeros((2, 8, 8, 1), np.uint8), labels=np.zeros(2, int)), "two pictures")
    with pytest.raises(ModelError, match=r"still busy with labelled pictures.* State --labels and --scale"):
        adopt(content, "bad", workspace, source="a.onnx", stated=Stated(order=None, scale=None), samples=samples)
    with pytest.raises(ModelError, match="still busy with its first pictures"):
        adopt(content, "slow", workspace, source="a.onnx")
    assert not list(workspace.models.iterdir())


def test_a_model_without_a_card_gets_one_that_claims_nothing(workspace, content):
    model = adopt(content, "mine", workspace, source="brightness.onnx")
    assert model == find_model("mine", workspace)
    assert model.path.read_bytes() == content
    assert model.card.preset == IMPORTED
    assert not model.card.metrics
    assert not model.card.dataset.known
    assert (model.card.input.height, model.card.input.channels) == (16, 1)
    assert model.card.parameters.total == 8  # seven centres and a slope
    faces = np.broadcast_to(CENTRES.astype(np.uint8)[:, None, None, None], (7, 16, 16, 1)).copy()
    assert Predictor.load(model).classify(faces).argmax(axis=1).tolist() == list(range(7))


def test_the_bundled_model_is_taken_with_its_card(workspace):
    bundled = default_model(workspace)
    card = bundled.path.with_name("model_card.json").read_bytes()
    model = adopt(bundled.path.read_bytes(), "copy", workspace, source="model.onnx", card=card)
    assert model.card.name == "copy"
    assert model.card.metrics == bundled.card.metrics
    assert "its card: the scores on it were not measured here" in model.card.notes[-1]


def changed_card(**changes):
    def make(card):
        return json.dumps({**card, **changes}).encode()

    return make


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda card: b"", "none of ours"),
        (lambda card: b"{" * 10_000, "none of ours"),
        (lambda card: b"[]", "none of ours"),
        (lambda card: b"\xff\xfe\x00", "none of ours"),
        (changed_card(input={"height": "tall"}), r"none of ours \(input"),
        (changed_card(labels=sorted(EMOTIONS)), "expected angry, disgust, fear"),
        (changed_card(input={"height": 48, "width": 48, "channels": 1}), "They do not belong together"),
        (lambda card: bytes(2**20 + 1), "larger than 1 MiB"),
    ],
    ids=["empty", "deep", "list", "no text", "wrong type", "other labels", "other size", "large"],
)
def test_a_card_that_is_not_the_models_is_refused(workspace, content, make, told):
    card = json.loads(
        adopt(content, "first", workspace, source="a.onnx").path.with_name("model_card.json").read_bytes()
    )
    with pytest.raises(ModelError, match=told):
        adopt(content, "second", workspace, source="a.onnx", card=make(card))
    assert [entry.name for entry in workspace.models.iterdir()] == ["first"]


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "x" * 65, "<b>", "a\n"])
def test_a_name_that_could_leave_the_workspace_is_refused(workspace, content, name):
    with pytest.raises(FerError, match="cannot be the name of a model"):
        adopt(content, name, workspace, source="a.onnx")


def test_a_name_that_is_taken_is_refused(workspace, content):
    (workspace.runs / "running").mkdir(parents=True)
    adopt(content, "mine", workspace, source="a.onnx")
    for name in ("mine", "running", default_model(workspace).name):
        with pytest.raises(ModelError, match=r"already\. Choose another name"):
            adopt(content, name, workspace, source="a.onnx")


@pytest.mark.parametrize(
    ("source", "name"),
    [("My model (1).onnx", "My-model-1"), ("../../etc/x.onnx", "x"), ("...", "imported"), ("ü.onnx", "imported")],
)
def test_a_name_is_suggested_that_can_be_used(source, name):
    assert suggest_name(source) == name
