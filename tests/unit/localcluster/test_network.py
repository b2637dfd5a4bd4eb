"""Address ranges keep out of the way of the machine's routes."""

import pytest
from perennial_localcluster.errors import PreconditionError
from perennial_localcluster.network import choose_cidr
from perennial_localcluster.record import Record


def test_first_free_range_is_chosen():
    got = choose_cidr(["10.1.0.0/16", "10.2.0.0/16"], ["10.1.7.0/24", "fd00::/64", "192.0.2.1"])
    assert got == "10.2.0.0/16"


def test_no_free_range_is_an_error_that_says_what_to_do():
    with pytest.raises(PreconditionError, match="ip route"):
        choose_cidr(["10.1.0.0/16"], ["10.0.0.0/8"])


def test_dns_and_api_services_have_their_usual_places():
    record = Record("native", "k", service_cidr="10.96.0.0/16")
    assert (record.kubernetes_service_ip, record.dns_ip) == ("10.96.0.1", "10.96.0.10")
