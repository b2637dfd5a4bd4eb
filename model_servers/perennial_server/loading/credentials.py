"""What a store's Secret says: the kubelet mounts it as files, one for each key, and this reads those that it knows.

The keys are those of the stores' own command-line tools, so that a Secret made for those will do. Others are ignored.
Without a Secret a store is asked anonymously: what else the machine or the cloud might lend (instance metadata,
profiles) is never used, since it would lend every user the rights of the node.
"""

import json
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from perennial_server.loading.errors import AccessDenied

MAX_VALUE_BYTES = 1 << 20  # as large as a Secret may be

KEYS: Mapping[str, str] = {
    "AWS_ACCESS_KEY_ID": "s3, needed",
    "AWS_SECRET_ACCESS_KEY": "s3, needed",
    "AWS_SESSION_TOKEN": "s3, of temporary credentials",
    "AWS_REGION": "s3",
    "AWS_ENDPOINT_URL": "s3, of a store other than Amazon's",
    "GOOGLE_APPLICATION_CREDENTIALS_JSON": "gs, needed: a service account's key; key.json will do",
    "key.json": "gs, the same by the name that Google gives the file",
    "AZURE_STORAGE_CONNECTION_STRING": "az, or the account's name with its key or a SAS token",
    "AZURE_STORAGE_ACCOUNT_NAME": "az",
    "AZURE_STORAGE_ACCOUNT_KEY": "az",
    "AZURE_STORAGE_SAS_TOKEN": "az",
    "HTTP_BEARER_TOKEN": "https, a token; or username and password",
    "username": "https",
    "password": "https",
    "ca.crt": "https and s3, PEM: what signed the store's certificate, in place of the public authorities",
}


class Credentials:
    """The values of a Secret, which never show.

    Parameters
    ----------
    values
        Of the known keys that the Secret has.
    """

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = dict(values)

    def __repr__(self) -> str:
        return f"Credentials({', '.join(sorted(self._values))})"

    def get(self, name: str) -> str | None:
        """Return the value of a key, if it is there."""
        return self._values.get(name)

    def need(self, name: str, store: str) -> str:
        """Return the value of a key that must be there.

        Raises
        ------
        AccessDenied
            It isn't.
        """
        value = self._values.get(name)
        if value is None:
            raise AccessDenied(f"the Secret of spec.model.secretRef has no {name}, which {store} needs")
        return value


def read_credentials(directory: Path) -> Credentials:
    """Read the files of a mounted Secret.

    Raises
    ------
    AccessDenied
        A file can't be read, or isn't what a Secret's value is.
    """
    values = dict(_read_known(directory, KEYS))
    if not values:
        raise AccessDenied(
            "the Secret of spec.model.secretRef isn't there, or has none of the keys that a store's may have: "
            + ", ".join(KEYS)
        )
    return Credentials(values)


def _read_known(directory: Path, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    for name in names:
        path = directory / name
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                raise AccessDenied(f"{name} in the Secret of spec.model.secretRef isn't a file")
            with path.open("rb") as file:
                data = file.read(MAX_VALUE_BYTES + 1)
            text = data.decode().strip()
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError) as error:
            # Not the error's own text: it may quote the bytes.
            raise AccessDenied(
                f"{name} in the Secret of spec.model.secretRef can't be read: {type(error).__name__}"
            ) from None
        if len(data) > MAX_VALUE_BYTES:
            raise AccessDenied(f"{name} in the Secret of spec.model.secretRef is too large")
        if text:
            yield name, text


def build_s3_options(credentials: Credentials | None, ca_file: Path | None) -> dict[str, Any]:
    """Build what `s3fs.S3FileSystem` is made with, but for timeouts."""
    if credentials is None:
        return {"anon": True}
    region = credentials.get("AWS_REGION")
    client: dict[str, Any] = {} if region is None else {"region_name": region}
    if ca_file is not None:
        client["verify"] = str(ca_file)
    return {
        "key": credentials.need("AWS_ACCESS_KEY_ID", "s3://"),
        "secret": credentials.need("AWS_SECRET_ACCESS_KEY", "s3://"),
        "token": credentials.get("AWS_SESSION_TOKEN"),
        "endpoint_url": credentials.get("AWS_ENDPOINT_URL"),
        "client_kwargs": client,
    }


def build_gs_options(credentials: Credentials | None) -> dict[str, Any]:
    """Build what `gcsfs.GCSFileSystem` is made with."""
    if credentials is None:
        return {"token": "anon"}
    name = "GOOGLE_APPLICATION_CREDENTIALS_JSON"
    text = credentials.get("key.json") or credentials.need(name, "gs://")
    try:
        key = json.loads(text)
    except ValueError:
        key = None
    # Other kinds of credentials name programs to run and addresses to ask.
    if not isinstance(key, dict) or key.get("type") != "service_account":
        raise AccessDenied(
            f"{name} in the Secret of spec.model.secretRef isn't the JSON key of a service account"
        )
    if not str(key.get("token_uri", "")).startswith("https://"):
        raise AccessDenied(
            f"{name} in the Secret of spec.model.secretRef has a token_uri that isn't https://"
        )
    return {"token": key, "access": "read_only"}


def build_az_options(credentials: Credentials | None) -> dict[str, Any]:
    """Build what `adlfs.AzureBlobFileSystem` is made with."""
    if credentials is None:
        raise AccessDenied("az:// needs spec.model.secretRef: the storage account's name is in that Secret")
    connection = credentials.get("AZURE_STORAGE_CONNECTION_STRING")
    if connection is not None:
        return {"connection_string": connection}
    account = {"account_name": credentials.need("AZURE_STORAGE_ACCOUNT_NAME", "az://")}
    sas_token = credentials.get("AZURE_STORAGE_SAS_TOKEN")
    if sas_token is not None:
        return account | {"sas_token": sas_token}
    return account | {
        "account_key": credentials.need("AZURE_STORAGE_ACCOUNT_KEY", "az:// without a SAS token")
    }
