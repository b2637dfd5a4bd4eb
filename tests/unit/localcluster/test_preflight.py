"""What stands in the way is named, with what to do about it."""

import pytest
from perennial_localcluster.errors import PreconditionError
from perennial_localcluster.preflight import Listener, check_machine, find_conflict, parse_listeners
from perennial_localcluster.services import Port

PROC_NET_TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0
   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4243 1 0
   2: 0100007F:1F90 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 4244 1 0
"""


def test_only_listening_sockets_are_read():
    got = parse_listeners(PROC_NET_TCP)
    assert got == [Listener("127.0.0.1", 8080, "4242"), Listener("0.0.0.0", 22, "4243")]


def test_ipv6_wildcard_takes_the_port_for_all():
    text = "header\n 0: 00000000000000000000000000000000:192B 0:0 0A 0:0 0:0 0 0 0 77 1 0\n"
    assert find_conflict(Port("10.0.0.1", 6443), parse_listeners(text)) == Listener("::", 6443, "77")


@pytest.mark.parametrize(
    ("port", "want"),
    [
        (Port("127.0.0.1", 8080), True),
        (Port("10.0.0.1", 8080), False),
        (Port("10.0.0.1", 22), True),
        (Port("10.0.0.1", 23), False),
    ],
)
def test_port_conflicts_only_on_the_same_or_any_address(port, want):
    assert bool(find_conflict(port, parse_listeners(PROC_NET_TCP))) is want


def test_without_root_the_error_names_the_ways_out():
    with pytest.raises(PreconditionError, match=r"sudo.*kind.*--kubeconfig"):
        check_machine("linux", 1000)


def test_on_another_system_the_error_names_the_ways_out():
    with pytest.raises(PreconditionError, match=r"needs Linux; this is darwin.*kind.*--kubeconfig"):
        check_machine("darwin", 0)
