"""skops files that would run something, crash the process or fill the machine."""

import functools
import io
import json
import operator
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import skops.io
from sklearn.preprocessing import FunctionTransformer

from tests.unit.bundle.malicious.case import case, repack, rewrite
from tests.unit.bundle.malicious.pickles import Payload


def spoil(place, model):
    rewrite(place.copy(), "model.skops", skops.io.dumps(model))


def change_schema(place, change, kind="forest"):
    """Change ``schema.json``, which says what is built."""

    def rewrite_schema(parts):
        schema = json.loads(parts["schema.json"])
        parts["schema.json"] = json.dumps(change(schema) or schema).encode()

    repack(place.copy(kind), rewrite_schema)


@case("UnsafeModel", r"posix\.system")
def skops_function_of_the_system(place):
    spoil(place, FunctionTransformer(os.system))


@case("UnsafeModel", r"builtins\.eval")
def skops_partial_of_eval(place):
    spoil(place, FunctionTransformer(functools.partial(eval, f"open({str(place.canary)!r}, 'w')")))


@case("UnsafeModel", r"operator\.methodcaller")
def skops_methodcaller(place):
    spoil(place, FunctionTransformer(operator.methodcaller("touch")))


@case("UnsafeModel", r"operator\.attrgetter")
def skops_attrgetter(place):
    spoil(place, FunctionTransformer(operator.attrgetter("__class__.__init__.__globals__")))


@case("UnsafeModel", r"pathlib\.")
def skops_method_of_a_path(place):
    spoil(place, FunctionTransformer(Path(place.canary).touch))


@case("UnsafeModel", r"fit_predict|\.fit")
def skops_method_of_a_trusted_type(place):
    spoil(place, FunctionTransformer(FunctionTransformer().fit))


def node(module, name, loader, **more):
    return {"__class__": name, "__module__": module, "__loader__": loader, "__id__": 1, **more}


def command(place):
    text = {"__class__": "str", "__module__": "builtins", "__loader__": "JsonNode", "is_json": True}
    argument = text | {"content": json.dumps(f"touch {place.canary}"), "__id__": 3}
    return node("builtins", "tuple", "TupleNode", content=[argument]) | {"__id__": 2}


@case("UnsafeModel", r"posix\.system")
def skops_constructor_that_is_a_command(place):
    change_schema(
        place,
        lambda schema: schema | node("posix", "system", "ConstructorFromReduceNode", content=command(place)),
    )


@case("UnsafeModel", r"posix\.system")
def skops_object_whose_type_is_a_command(place):
    change_schema(place, lambda schema: schema | {"__class__": "system", "__module__": "posix"})


@case("UnsafeModel", r"antigravity\.fly")
def skops_module_that_acts_when_imported(place):
    change_schema(place, lambda schema: schema | {"__class__": "fly", "__module__": "antigravity"})


@case("InvalidBundle", "that can be read")
def skops_loader_that_does_not_exist(place):
    change_schema(place, lambda schema: schema | {"__loader__": "EvalNode"})


@case("InvalidBundle", "that can be read")
def skops_names_that_are_not_strings(place):
    change_schema(place, lambda schema: schema | {"__module__": ["os"], "__class__": {"system": 1}})


@case("InvalidBundle", "that can be read")
def skops_schema_nested_too_deep(place):
    def nest(parts):
        parts["schema.json"] = b'{"content":' * 100_000 + b"1" + b"}" * 100_000

    repack(place.copy(), nest)


@case("InvalidBundle", "out of proportion")
def skops_bomb_of_zeros(place):
    def fill(parts):
        buffer = io.BytesIO()
        np.save(buffer, np.zeros(2**20 * 10))
        parts["zeros.npy"] = buffer.getvalue()

    repack(place.copy(), fill, zipfile.ZIP_DEFLATED)


@case("InvalidBundle", "out of proportion")
def skops_bomb_in_the_schema(place):
    def fill(parts):
        parts["schema.json"] += b" " * 2**20 * 80

    repack(place.copy(), fill, zipfile.ZIP_DEFLATED)


@case("InvalidBundle", "two of one name")
def skops_parts_of_one_name(place):
    bundle = place.copy()
    buffer = io.BytesIO((bundle / "model.skops").read_bytes())
    with zipfile.ZipFile(buffer, "a") as target, pytest.warns(UserWarning, match="Duplicate name"):
        target.writestr("schema.json", b"{}")
    rewrite(bundle, "model.skops", buffer.getvalue())


@case("InvalidBundle", "that can be read")
def skops_cut_off(place):
    bundle = place.copy()
    data = (bundle / "model.skops").read_bytes()
    rewrite(bundle, "model.skops", data[: len(data) // 2])


@case("InvalidBundle", "that can be read")
def skops_array_with_a_flipped_byte(place):
    bundle = place.copy()
    data = bytearray((bundle / "model.skops").read_bytes())
    data[data.index(b"NUMPY") + 200] ^= 0xFF
    rewrite(bundle, "model.skops", bytes(data))


@case("ModelLoadFailed", "Object arrays cannot be loaded")
def skops_array_that_is_a_pickle(place):
    def replace(parts):
        buffer = io.BytesIO()
        np.lib.format.write_array_header_1_0(buffer, {"descr": "|O", "fortran_order": False, "shape": (1,)})
        buffer.write(pickle.dumps(Payload(place)))
        for name in parts:
            if name.endswith(".npy"):
                parts[name] = buffer.getvalue()

    repack(place.copy(), replace)


def change_nodes(place, kind, dtype_has, change):
    """Change the arrays of a tree's nodes."""

    def change_arrays(parts):
        changed = 0
        for name, data in parts.items():
            if name.endswith(".npy"):
                array = np.load(io.BytesIO(data))
                if array.dtype.names and dtype_has in array.dtype.names:
                    array = change(array.copy())
                    buffer = io.BytesIO()
                    np.save(buffer, array)
                    parts[name] = buffer.getvalue()
                    changed += 1
        assert changed

    repack(place.copy(kind), change_arrays)


def put(field, value):
    def change(nodes):
        nodes[field][0] = value
        return nodes

    return change


@case("InvalidBundle", "point back, or outside")
def skops_tree_that_points_outside(place):
    change_nodes(place, "forest", "left_child", put("left_child", 2**40))


@case("InvalidBundle", "point back, or outside")
def skops_tree_that_never_ends(place):
    change_nodes(place, "forest", "left_child", put("right_child", 0))


@case("InvalidBundle", "feature beyond")
def skops_tree_of_a_feature_that_no_row_has(place):
    change_nodes(place, "forest", "left_child", put("feature", 10**9))


@case("InvalidBundle", "point back, or outside")
def skops_boosted_tree_that_points_outside(place):
    change_nodes(place, "boosted", "is_leaf", put("left", 2**31))


@case("InvalidBundle", "feature beyond")
def skops_boosted_tree_of_a_feature_that_no_row_has(place):
    change_nodes(place, "boosted", "is_leaf", put("feature_idx", 10**9))


@case("InvalidBundle", "tree of neighbours")
def skops_neighbours_that_point_outside(place):
    def change(nodes):
        nodes["is_leaf"] = 0
        return nodes

    change_nodes(place, "neighbours", "idx_start", change)
