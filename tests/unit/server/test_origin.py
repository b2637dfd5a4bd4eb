import pytest
from perennial_server.origin import read_origin


def read(**headers):
    return read_origin({k.replace("_", "-"): v for k, v in headers.items()}.get, "shop/wine")


def test_a_client_is_told_from_others_without_its_name():
    ann, again, bob = read(x_user_id="ann"), read(x_user_id="ann"), read(x_user_id="bob")
    assert ann.client == again.client != bob.client
    assert "ann" not in ann.client
    assert len(ann.client) <= 64


def test_the_same_client_has_another_name_in_another_deployment():
    here, there = (read_origin({"x-user-id": "ann"}.get, salt).client for salt in ("shop/wine", "shop/beer"))
    assert here != there


def test_what_the_gateway_says_of_the_client_goes_before_what_the_client_says():
    assert read(x_perennial_client_key="k", x_user_id="ann").client == read(x_perennial_client_key="k").client


def test_a_request_without_a_user_is_nobodys():
    assert read().client is None


@pytest.mark.parametrize(("value", "want"), [("true", True), ("false", False), ("", False)])
def test_shadow_and_probe_are_marked_by_true_alone(value, want):
    assert read(x_perennial_shadow=value).is_shadow is want
    assert read(x_perennial_probe=value).is_probe is want


def test_what_came_through_the_gateway_is_never_a_probe_unless_the_gateway_pinned_it():
    assert not read(x_perennial_probe="true", x_prediction_id="p-1").is_probe
    assert read(x_perennial_pin="wine-1a2b3c4d", x_prediction_id="p-1").is_probe
