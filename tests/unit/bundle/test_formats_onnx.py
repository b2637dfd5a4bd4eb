"""ONNX models as bundles: both styles of inputs, and all that is refused."""

import numpy as np
import onnx
import pandas as pd
import perennial_bundle
import pytest
import skl2onnx
from onnx import TensorProto, helper, numpy_helper
from perennial_bundle import Column, InvalidBundle, Schema, UnsafeModel
from perennial_bundle.formats.onnx_file import MAX_ARENA_BYTES, Feed, build_feed, choose_arena_bytes
from perennial_bundle.formats.onnx_scan import scan_onnx
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn.compose import make_column_transformer
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(0)
    n = 300
    return pd.DataFrame(
        {
            "wind speed": rng.normal(10, 3, n).astype(np.float32),
            "carrier": rng.choice(["AA", "DL", "UA"], n),
            "when": pd.date_range("2013-01-01", periods=n, freq="h", tz="UTC"),
        }
    )


@pytest.fixture(scope="module")
def numbers():
    rng = np.random.default_rng(0)
    return pd.DataFrame(rng.normal(size=(300, 3)).astype(np.float32), columns=["a", "b", "c"])


def convert(model, types, *, zipmap=False):
    """Convert; only classifiers take the option that leaves the dictionaries out."""
    options = {} if zipmap else {id(model): {"zipmap": False}}
    return skl2onnx.to_onnx(model, initial_types=types, options=options).SerializeToString()


def fit_mixed(frame):
    encode = make_column_transformer(
        (StandardScaler(), ["wind speed"]), (OneHotEncoder(handle_unknown="ignore"), ["carrier"])
    )
    labels = np.where(frame["wind speed"] > 11, "late", "punctual")
    return make_pipeline(encode, LogisticRegression()).fit(frame[["wind speed", "carrier"]], labels)


@pytest.fixture(scope="module")
def mixed(frame):
    types = [("wind speed", FloatTensorType([None, 1])), ("carrier", StringTensorType([None, 1]))]
    return convert(fit_mixed(frame), types)


def test_a_graph_with_an_input_per_column_answers_as_the_model_it_was_made_of(frame, mixed, tmp_path):
    bundle = perennial_bundle.save_onnx(
        mixed,
        frame,
        tmp_path / "b",
        task="Classification",
        classes=["late", "punctual"],
        event_time="when",
    )
    columns = {
        "wind speed": [2.0, 30.0],
        "carrier": ["AA", "unheard of"],
        "when": ["2014-01-01T00:00:00Z"] * 2,
    }
    got = bundle.predict(bundle.schema.validate(columns))
    model = fit_mixed(frame)
    given = pd.DataFrame({"wind speed": np.float32([2, 30]), "carrier": ["AA", "unheard of"]})
    assert got["predict"].tolist() == model.predict(given).tolist()
    assert np.allclose(got["probability"], model.predict_proba(given)[:, 1], atol=1e-5)
    assert bundle.schema.by_name["carrier"].unknown_category == "Pass"
    assert not bundle.schema.by_name["carrier"].allow_missing


def test_a_graph_with_one_matrix_and_three_classes_answers_with_a_column_for_each(numbers, tmp_path):
    labels = np.digitize(numbers.a, [-0.5, 0.5])
    model = RandomForestClassifier(5, random_state=0).fit(numbers.to_numpy(), labels)
    data = convert(model, [("X", FloatTensorType([None, 3]))])
    bundle = perennial_bundle.save_onnx(
        data, numbers, tmp_path / "b", task="Classification", classes=[0, 1, 2], y=labels
    )
    got = bundle.predict(bundle.reference().inputs)
    assert np.allclose(got["probability"], model.predict_proba(numbers.to_numpy()), atol=1e-5)
    assert got["predict"].dtype == np.int64
    assert bundle.reference().labels.tolist() == labels.tolist()


def test_a_regression_answers_with_flat_numbers(numbers, tmp_path):
    model = GradientBoostingRegressor(n_estimators=5).fit(numbers.to_numpy(), numbers.a)
    data = convert(model, [("X", FloatTensorType([None, 3]))], zipmap=True)
    (tmp_path / "model.onnx").write_bytes(data)
    bundle = perennial_bundle.save_onnx(tmp_path / "model.onnx", numbers, tmp_path / "b", task="Regression")
    got = bundle.predict(bundle.reference().inputs)["predict"]
    assert np.allclose(got, model.predict(numbers.to_numpy()), atol=1e-5)
    assert (got.shape, got.dtype) == ((300,), np.float64)


def build_graph(nodes, initializers=(), width=3, opsets=(("", 17),), out=(None, 2)):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, list(out))],
        initializer=list(initializers),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid(d, v) for d, v in opsets])
    model.ir_version = 8
    return model


def test_a_network_that_answers_with_probabilities_only_gets_its_labels_from_them(numbers, tmp_path):
    weights = numpy_helper.from_array(np.float32([[3, -3], [0, 0], [0, 0]]), "w")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Softmax", ["z"], ["y"])]
    data = build_graph(nodes, [weights]).SerializeToString()
    bundle = perennial_bundle.save_onnx(
        data, numbers, tmp_path / "b", task="Classification", classes=[False, True]
    )
    got = bundle.predict(bundle.reference().inputs)
    assert got["predict"].tolist() == (numbers.a < 0).tolist()
    assert bundle.schema.outputs[0].datatype == "BOOL"


def test_a_graph_of_whole_numbers_is_given_no_missing_value(tmp_path):
    whole = pd.DataFrame({"a": range(30), "b": [7] * 30})
    model = LinearRegression().fit(whole, whole["a"])
    data = convert(model, [("X", Int64TensorType([None, 2]))], zipmap=True)
    bundle = perennial_bundle.save_onnx(data, whole, tmp_path / "b", task="Regression")
    assert [column.missing for column in bundle.schema.inputs] == ["Reject", "Reject"]


def test_a_graph_of_truth_values_takes_no_missing_one_for_true():
    feed = Feed("x", np.bool_, ("x",), 2)
    schema = Schema(
        inputs=(Column(name="x", datatype="BOOL", missing="Pass"),),
        outputs=(Column(name="predict", datatype="FP64", role="Output"),),
    )
    frame = schema.validate({"x": [True, None]})
    with pytest.raises(ValueError, match="x: a value is missing"):
        build_feed(feed, frame, schema)
    assert build_feed(feed, frame[:1], schema).tolist() == [[True]]


def test_an_onnx_bundle_has_no_model_to_fit_again(numbers, tmp_path):
    nodes = [helper.make_node("ReduceSum", ["x", "axes"], ["y"])]
    axes = numpy_helper.from_array(np.array([1]), "axes")
    data = build_graph(nodes, [axes], out=(None, 1)).SerializeToString()
    bundle = perennial_bundle.save_onnx(data, numbers, tmp_path / "b", task="Regression")
    assert np.allclose(bundle.predict(numbers)["predict"], numbers.sum(axis=1), atol=1e-5)
    with pytest.raises(InvalidBundle, match="no scikit-learn model"):
        _ = bundle.model


def test_a_zipmap_is_refused_with_what_to_change(frame, tmp_path):
    types = [("wind speed", FloatTensorType([None, 1])), ("carrier", StringTensorType([None, 1]))]
    data = convert(fit_mixed(frame), types, zipmap=True)
    with pytest.raises(InvalidBundle, match="zipmap"):
        perennial_bundle.save_onnx(
            data,
            frame.drop(columns="when"),
            tmp_path / "b",
            task="Classification",
            classes=["late", "punctual"],
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": None}, "pass classes="),
        ({"classes": ["late"]}, "two or more"),
        ({"classes": ["late", "soon"]}, "punctual"),
        ({"classes": ["a", "b", "c"]}, "classes"),
        ({"task": "Regression"}, "pass classes="),
        ({"X": pd.DataFrame({"wind": [1.0], "carrier": ["AA"]})}, "wind_speed"),
        ({"X": pd.DataFrame({"wind speed": [1.0], "carrier": ["AA"], "more": [1]})}, "more"),
    ],
)
def test_what_does_not_fit_the_graph_is_refused_with_what_to_change(frame, mixed, tmp_path, change, message):
    arguments = {"X": frame, "task": "Classification", "classes": ["late", "punctual"]}
    if "X" not in change:
        arguments["event_time"] = "when"
    arguments |= change
    with pytest.raises(InvalidBundle, match=message):
        perennial_bundle.save_onnx(mixed, path=tmp_path / "b", **arguments)


def test_external_data_is_refused_wherever_it_lies():
    tensor = TensorProto(
        name="w", data_type=TensorProto.FLOAT, dims=[3, 2], data_location=TensorProto.EXTERNAL
    )
    tensor.external_data.add(key="location", value="/etc/passwd")
    inner = helper.make_graph([helper.make_node("Constant", [], ["y"], value=tensor)], "b", [], [])
    branch = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    for model in (build_graph(nodes, [tensor]), build_graph([branch])):
        with pytest.raises(UnsafeModel, match="files beside it"):
            scan_onnx(model.SerializeToString(), "model.onnx")


def test_operators_of_other_libraries_are_refused_and_those_that_the_file_defines_are_not():
    node = helper.make_node("Twice", ["x"], ["y"], domain="own")
    opsets = [helper.make_opsetid("", 17)]
    twice = helper.make_function(
        "own", "Twice", ["x"], ["y"], [helper.make_node("Add", ["x", "x"], ["y"])], opsets
    )
    model = build_graph([node], opsets=(("", 17), ("own", 1)), out=(None, 3))
    with pytest.raises(UnsafeModel, match=r"own\.Twice"):
        scan_onnx(model.SerializeToString(), "model.onnx")
    model.functions.append(twice)
    scan_onnx(model.SerializeToString(), "model.onnx")
    twice.node.append(helper.make_node("Run", [], [], domain="com.custom"))
    model.functions[0].CopyFrom(twice)
    with pytest.raises(UnsafeModel, match=r"com\.custom\.Run"):
        scan_onnx(model.SerializeToString(), "model.onnx")


def test_a_tensor_that_claims_more_than_the_file_can_hold_is_refused():
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[10**6, 10**6])
    model = build_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], [tensor])
    with pytest.raises(InvalidBundle, match="claims the shape"):
        scan_onnx(model.SerializeToString(), "model.onnx")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_file_that_is_cut_off_is_refused(mixed, share):
    with pytest.raises(InvalidBundle, match="ONNX"):
        scan_onnx(mixed[: int(len(mixed) * share)], "model.onnx")


def test_numbers_that_a_writer_did_not_pack_are_walked_over(numbers):
    """The converters' trees come as millions of single numbers."""
    model = RandomForestClassifier(3, random_state=0).fit(numbers.to_numpy(), numbers.a > 0)
    data = convert(model, [("X", FloatTensorType([None, 3]))])
    scan_onnx(data, "model.onnx")
    parsed = onnx.load_from_string(data)
    parsed.graph.node[0].attribute[3].CopyFrom(helper.make_attribute("extra", [2**62, -1, 0]))
    parsed.graph.node[-1].domain = "evil"
    with pytest.raises(UnsafeModel, match="evil"):
        scan_onnx(parsed.SerializeToString(), "model.onnx")


@pytest.mark.parametrize(
    ("text", "want"),
    [("max\n", MAX_ARENA_BYTES), ("1073741824\n", 2**29), ("99999999999\n", MAX_ARENA_BYTES)],
)
def test_graphs_may_take_half_of_the_container_s_memory(tmp_path, text, want):
    (tmp_path / "memory.max").write_text(text)
    assert choose_arena_bytes(tmp_path / "memory.max") == want
    assert choose_arena_bytes(tmp_path / "absent") == MAX_ARENA_BYTES
