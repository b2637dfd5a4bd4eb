"""What a bundle's URI names."""

import re
from dataclasses import dataclass
from ipaddress import ip_address

from perennial_bundle import InvalidBundle

OBJECT_SCHEMES = frozenset({"s3", "gs", "az"})
WEB_SCHEMES = frozenset({"https", "http"})

# Neither user, query nor fragment: a URI is shown to everybody, so nothing secret may fit into it.
_URI = re.compile(
    r"^(?P<scheme>s3|gs|az|https?)://(?P<place>[A-Za-z0-9][A-Za-z0-9._-]*(?::[0-9]{1,5})?)"
    r"(?P<path>(?:/[A-Za-z0-9_][A-Za-z0-9._=+-]*)+)/?$"
)
_TAR = ".tar"


@dataclass(frozen=True, slots=True)
class Address:
    """A place in a store.

    Attributes
    ----------
    place
        The bucket, the container, or host and port.
    path
        What is there, without slashes around it.
    """

    scheme: str
    place: str
    path: str

    @property
    def is_tar(self) -> bool:
        """Whether it names a tar; else it is a folder of the bundle's files."""
        return self.path.endswith(_TAR)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.place}/{self.path}"


def parse_address(uri: str) -> Address:
    """Read the URI of a bundle in a store.

    Raises
    ------
    InvalidBundle
        It is none, or goes over the network in the clear.
    """
    match = _URI.match(uri)
    if match is None or len(uri) > 1024:  # noqa: PLR2004  as in the API
        raise InvalidBundle(
            f"{uri[:200]!r} isn't perennial://sha256:<hex>, file:///<path>, s3://<bucket>/<path>, gs://<bucket>/<path>, "
            "az://<container>/<path> or https://<host>/<path>; set spec.model.uri accordingly"
        )
    address = Address(match["scheme"], match["place"], match["path"].strip("/"))
    if address.scheme == "http" and not is_loopback(address.place):
        raise InvalidBundle(f"{address} goes over the network in the clear; use https://")
    return address


def is_loopback(place: str) -> bool:
    """Tell whether host and port are this very machine's."""
    host = place.rsplit(":", 1)[0]
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
