import subprocess
import sys
from pathlib import Path

import pytest
from perennial_server.rpc import inference_pb2 as ours
from tritonclient.grpc import service_pb2 as tritons

ROOT = Path(__file__).parents[3]


def list_fields(message):
    """Everything that the wire knows of a message, those inside of it included."""
    fields = {(f.name, f.number, f.type, f.is_repeated) for f in message.fields}
    return fields, {nested.name: list_fields(nested) for nested in message.nested_types}


def test_the_generated_modules_are_what_the_proto_says():
    got = subprocess.run(
        [sys.executable, ROOT / "scripts" / "protos.py", "--check"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (got.returncode, got.stdout) == (0, "")


@pytest.mark.parametrize("name", ours.DESCRIPTOR.message_types_by_name)
def test_each_message_is_that_of_other_clients_on_the_wire(name):
    want = tritons.DESCRIPTOR.message_types_by_name[name]
    assert list_fields(ours.DESCRIPTOR.message_types_by_name[name]) == list_fields(want)


def test_the_service_is_that_of_other_clients():
    want = tritons.DESCRIPTOR.pool.FindServiceByName("inference.GRPCInferenceService").methods_by_name
    got = ours.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    assert got.full_name == "inference.GRPCInferenceService"
    for name, method in got.methods_by_name.items():
        assert (method.input_type.full_name, method.output_type.full_name) == (
            want[name].input_type.full_name,
            want[name].output_type.full_name,
        )
