"""ONNX graphs, manifests and reference samples that aren't what they seem."""

import io

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
from onnx import TensorProto, helper, numpy_helper

from tests.unit.bundle.malicious.case import case, change_manifest, rewrite


def change_graph(place, change):
    bundle = place.copy("onnx")
    model = onnx.load_from_string((bundle / "model.onnx").read_bytes())
    change(model)
    rewrite(bundle, "model.onnx", model.SerializeToString())


def outside(path):
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[16])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=path)
    return tensor


@case("UnsafeModel", "files beside it")
def onnx_data_from_a_file_of_the_system(place):
    change_graph(place, lambda model: model.graph.initializer.append(outside("/etc/passwd")))


@case("UnsafeModel", "files beside it")
def onnx_data_from_a_path_that_climbs(place):
    change_graph(place, lambda model: model.graph.initializer.append(outside("../../../../etc/passwd")))


@case("UnsafeModel", "files beside it")
def onnx_data_from_a_file_in_a_branch(place):
    inner = helper.make_graph(
        [helper.make_node("Constant", [], ["v"], value=outside("/etc/passwd"))], "b", [], []
    )
    node = helper.make_node("If", ["c"], ["v"], then_branch=inner, else_branch=inner)
    change_graph(place, lambda model: model.graph.node.append(node))


@case("UnsafeModel", r"com\.evil\.Run")
def onnx_operator_of_a_library(place):
    node = helper.make_node("Run", ["X"], ["ran"], domain="com.evil")
    change_graph(place, lambda model: model.graph.node.append(node))


@case("UnsafeModel", r"com\.microsoft\.")
def onnx_operator_of_the_runtime_s_own(place):
    node = helper.make_node("Tokenizer", ["X"], ["ran"], domain="com.microsoft")
    change_graph(place, lambda model: model.graph.node.append(node))


@case("InvalidBundle", "claims the shape")
def onnx_tensor_of_an_exabyte(place):
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2**30, 2**30])
    change_graph(place, lambda model: model.graph.initializer.append(tensor))


@case("ModelLoadFailed", "can't load the model")
def onnx_tensor_with_less_data_than_its_shape(place):
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[100], raw_data=b"\0" * 4)

    def change(model):
        model.graph.initializer.append(tensor)
        model.graph.node.append(helper.make_node("Identity", ["w"], ["unused"]))
        model.graph.output.append(helper.make_tensor_value_info("unused", TensorProto.FLOAT, [100]))

    change_graph(place, change)


@case("ModelLoadFailed", "can't predict its own reference")
def onnx_graph_that_asks_for_terabytes_when_it_runs(place):
    """Its few bytes are a sound graph: only the bound on memory stops it."""

    def change(model):
        shape = numpy_helper.from_array(np.array([2**20, 2**20]), "bomb-shape")
        model.graph.initializer.append(shape)
        label = model.graph.output[0].name
        for node in model.graph.node:
            node.output[:] = ["plain" if name == label else name for name in node.output]
        axes = numpy_helper.from_array(np.array([0, 1]), "bomb-axes")
        model.graph.initializer.append(axes)
        model.graph.node.extend(
            [
                helper.make_node("ConstantOfShape", ["bomb-shape"], ["bomb"]),
                helper.make_node("ReduceSum", ["bomb", "bomb-axes"], ["bomb-sum"], keepdims=0),
                helper.make_node("Cast", ["bomb-sum"], ["bomb-zero"], to=TensorProto.INT64),
                helper.make_node("Add", ["plain", "bomb-zero"], [label]),
            ]
        )

    change_graph(place, change)


@case("InvalidBundle", "cut off")
def onnx_cut_off(place):
    bundle = place.copy("onnx")
    data = (bundle / "model.onnx").read_bytes()
    rewrite(bundle, "model.onnx", data[: len(data) // 2])


@case("InvalidBundle", "isn't an ONNX file")
def onnx_in_the_runtime_s_own_format(place):
    rewrite(place.copy("onnx"), "model.onnx", b"\x28\x00\x00\x00ORTM" + b"\0" * 100)


@case("InvalidBundle", "ZipMap")
def onnx_that_answers_with_dictionaries(place):
    rewrite(place.copy("onnx"), "model.onnx", (place.good["zipmap"]).read_bytes())


@case("InvalidBundle", "isn't a finite number")
def manifest_with_nan(place):
    change_manifest(place.copy(), lambda m: m["metadata"].update(x=float("nan")))


@case("InvalidBundle", "isn't a finite number")
def manifest_with_a_number_beyond_floats(place):
    bundle = place.copy()
    text = (bundle / "bundle.json").read_text()
    (bundle / "bundle.json").write_text(text.replace('"metadata": {}', '"metadata": {"x": 1e999}'))


@case("InvalidBundle", "nested deeper")
def manifest_nested_deep(place):
    bundle = place.copy()
    text = (bundle / "bundle.json").read_text()
    deep = "[" * 500 + "]" * 500
    (bundle / "bundle.json").write_text(text.replace('"metadata": {}', f'"metadata": {{"x": {deep}}}'))


@case("InvalidBundle", "isn't JSON")
def manifest_nested_beyond_the_parser(place):
    (place.copy() / "bundle.json").write_text("[" * 10**6)


@case("InvalidBundle", "'task' is there twice")
def manifest_with_a_key_twice(place):
    bundle = place.copy()
    text = (bundle / "bundle.json").read_text()
    (bundle / "bundle.json").write_text(text.replace("{", '{"task": "Regression",', 1))


@case("InvalidBundle", r"bundle\.json: files")
def manifest_that_names_a_file_elsewhere(place):
    change_manifest(place.copy(), lambda m: m["files"].update({"../../etc/passwd": "0" * 64}))


@case("InvalidBundle", "larger than")
def manifest_of_5_mib(place):
    change_manifest(place.copy(), lambda m: m["metadata"].update(x="x" * 5 * 2**20))


@case("InvalidBundle", "reference.parquet")
def reference_cut_off(place):
    bundle = place.copy()
    data = (bundle / "reference.parquet").read_bytes()
    rewrite(bundle, "reference.parquet", data[: len(data) // 2])


def write_reference(place, change):
    bundle = place.copy()
    table = change(pq.read_table(bundle / "reference.parquet"))
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    rewrite(bundle, "reference.parquet", buffer.getvalue())


@case("InvalidBundle", "rows")
def reference_of_too_many_rows(place):
    write_reference(place, lambda table: pa.concat_tables([table] * 100))


@case("InvalidBundle", "would take")
def reference_bomb_of_one_string(place):
    """A string of 16 MiB, once in the file and in every row of the table."""

    def change(table):
        values = pa.DictionaryArray.from_arrays(np.zeros(len(table), dtype=np.int32), ["x" * 2**24])
        index = table.column_names.index("carrier")
        return table.set_column(index, "carrier", values.cast(pa.string()))

    write_reference(place, lambda table: change(table.slice(0, 50)))


@case("InvalidBundle", "would take")
def reference_bomb_of_lists(place):
    def change(table):
        zeros = pa.array(np.zeros(2**24, dtype=np.float64))
        offsets = pa.array(np.linspace(0, 2**24, len(table) + 1).astype(np.int32))
        name = "__output__probability"
        index = table.column_names.index(name)
        many = pa.ListArray.from_arrays(offsets, zeros)
        return pa.concat_tables([table.set_column(index, name, many)] * 3)

    write_reference(place, change)


@case("InvalidBundle", "no reference sample holds")
def reference_of_structures(place):
    def change(table):
        index = table.column_names.index("__output__predict")
        return table.set_column(index, "__output__predict", pa.array([{"a": [1]}] * len(table)))

    write_reference(place, change)
