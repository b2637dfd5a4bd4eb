import json
from pathlib import Path

import pytest
from perennial_bundle import BundleError, InvalidBundle
from perennial_server.errors import ObserverUnavailable
from perennial_server.loading.addresses import Address, parse_address
from perennial_server.loading.credentials import (
    KEYS,
    Credentials,
    build_az_options,
    build_gs_options,
    build_s3_options,
    read_credentials,
)
from perennial_server.loading.errors import AccessDenied, LoadTimeout, StoreUnavailable, TooLarge
from perennial_server.loading.objects import build_options, describe_error, find_status
from perennial_server.loading.web import build_authorization, follow

SERVICE_ACCOUNT = {
    "type": "service_account",
    "client_email": "models@example.iam.gserviceaccount.com",
    "private_key": "hidden",
    "token_uri": "https://oauth2.googleapis.com/token",
}


@pytest.mark.parametrize(
    ("uri", "want"),
    [
        ("s3://models/wine/v3.tar", Address("s3", "models", "wine/v3.tar")),
        ("gs://models/wine/v3/", Address("gs", "models", "wine/v3")),
        ("az://container/wine", Address("az", "container", "wine")),
        ("https://models.example.com:8443/wine.tar", Address("https", "models.example.com:8443", "wine.tar")),
        ("http://127.0.0.1:8000/wine.tar", Address("http", "127.0.0.1:8000", "wine.tar")),
        ("http://localhost/wine.tar", Address("http", "localhost", "wine.tar")),
    ],
)
def test_an_address_is_read(uri, want):
    assert parse_address(uri) == want


@pytest.mark.parametrize(
    "uri",
    [
        "s3://models",
        "s3:///wine",
        "s3://models/../wine",
        "s3://models//wine",
        "s3://models/.hidden",
        "https://user:password@example.com/wine.tar",
        "https://example.com/wine.tar?X-Amz-Signature=1",
        "https://example.com/wine.tar#part",
        "https://example.com/a%2Fb.tar",
        "ftp://example.com/wine.tar",
        "memory://models/wine",
        "s3://models/" + "a" * 1100,
        "http://example.com/wine.tar",
        "http://127.0.0.1.example.com/wine.tar",
    ],
)
def test_what_cannot_be_fetched_safely_is_refused(uri):
    with pytest.raises(InvalidBundle):
        parse_address(uri)


def test_a_secrets_known_keys_are_read_and_others_ignored(tmp_path):
    (tmp_path / "AWS_ACCESS_KEY_ID").write_text("id\n")
    (tmp_path / "AWS_SECRET_ACCESS_KEY").write_text("hidden")
    (tmp_path / "AWS_REGION").write_text(" ")
    (tmp_path / "other").write_bytes(b"\xff")
    got = read_credentials(tmp_path)
    assert got.get("AWS_ACCESS_KEY_ID") == "id"
    assert got.get("AWS_REGION") is None
    assert "hidden" not in repr(got)


@pytest.mark.parametrize("data", [b"\xff\xfe", b"x" * (2**20 + 1)], ids=["no text", "too large"])
def test_a_value_that_is_none_is_refused_without_showing_it(tmp_path, data):
    (tmp_path / "password").write_bytes(data)
    with pytest.raises(AccessDenied, match="password in the Secret") as caught:
        read_credentials(tmp_path)
    assert "xff" not in str(caught.value)


def test_a_directory_in_place_of_a_value_is_refused(tmp_path):
    (tmp_path / "ca.crt").mkdir()
    with pytest.raises(AccessDenied, match="isn't a file"):
        read_credentials(tmp_path)


def test_s3_is_asked_anonymously_without_a_secret():
    assert build_s3_options(None, None) == {"anon": True}


def test_s3_takes_the_keys_of_its_own_tools(tmp_path):
    values = {
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "key",
        "AWS_SESSION_TOKEN": "token",
        "AWS_REGION": "eu-central-1",
        "AWS_ENDPOINT_URL": "https://minio.example.com",
    }
    assert build_s3_options(Credentials(values), tmp_path / "ca.crt") == {
        "key": "id",
        "secret": "key",
        "token": "token",
        "endpoint_url": "https://minio.example.com",
        "client_kwargs": {"region_name": "eu-central-1", "verify": str(tmp_path / "ca.crt")},
    }


@pytest.mark.parametrize(
    ("build", "values", "lacking"),
    [
        (lambda c: build_s3_options(c, None), {"ACCESS_KEY": "id"}, "AWS_ACCESS_KEY_ID"),
        (lambda c: build_s3_options(c, None), {"AWS_ACCESS_KEY_ID": "id"}, "AWS_SECRET_ACCESS_KEY"),
        (build_gs_options, {}, "GOOGLE_APPLICATION_CREDENTIALS_JSON"),
        (build_az_options, {}, "AZURE_STORAGE_ACCOUNT_NAME"),
        (build_az_options, {"AZURE_STORAGE_ACCOUNT_NAME": "shop"}, "AZURE_STORAGE_ACCOUNT_KEY"),
        (build_authorization, {}, "username"),
        (build_authorization, {"username": "shop"}, "password"),
    ],
)
def test_a_missing_key_is_named(build, values, lacking):
    with pytest.raises(AccessDenied, match=f"has no {lacking}"):
        build(Credentials(values))


def test_gs_takes_the_key_of_a_service_account():
    text = json.dumps(SERVICE_ACCOUNT)
    want = {"token": SERVICE_ACCOUNT, "access": "read_only"}
    assert build_gs_options(Credentials({"key.json": text})) == want
    assert build_gs_options(Credentials({"GOOGLE_APPLICATION_CREDENTIALS_JSON": text})) == want
    assert build_gs_options(None) == {"token": "anon"}


@pytest.mark.parametrize(
    "key",
    [
        '{"private_key": "hidden"',
        json.dumps({"type": "external_account", "credential_source": {"executable": {"command": "hidden"}}}),
        json.dumps(SERVICE_ACCOUNT | {"token_uri": "http://169.254.169.254/hidden"}),
    ],
    ids=["cut off", "a program to run", "an address in the clear"],
)
def test_gs_takes_no_other_credentials(key):
    with pytest.raises(AccessDenied) as caught:
        build_gs_options(Credentials({"key.json": key}))
    assert "hidden" not in str(caught.value)


def test_az_takes_a_connection_string_a_sas_token_or_a_key():
    account = {"AZURE_STORAGE_ACCOUNT_NAME": "shop"}
    assert build_az_options(Credentials({"AZURE_STORAGE_CONNECTION_STRING": "c"})) == {
        "connection_string": "c"
    }
    assert build_az_options(Credentials(account | {"AZURE_STORAGE_SAS_TOKEN": "s"})) == {
        "account_name": "shop",
        "sas_token": "s",
    }
    assert build_az_options(Credentials(account | {"AZURE_STORAGE_ACCOUNT_KEY": "k"})) == {
        "account_name": "shop",
        "account_key": "k",
    }
    with pytest.raises(AccessDenied, match=r"needs spec\.model\.secretRef"):
        build_az_options(None)


def test_a_web_server_gets_a_token_or_a_password():
    assert build_authorization(None) == {}
    assert build_authorization(Credentials({"HTTP_BEARER_TOKEN": "t"})) == {"Authorization": "Bearer t"}
    basic = build_authorization(Credentials({"username": "shop", "password": "pässword"}))
    assert basic == {"Authorization": "Basic c2hvcDpww6Rzc3dvcmQ="}
    assert build_authorization(Credentials({"ca.crt": "-"})) == {}
    with pytest.raises(AccessDenied, match="what no header may"):
        build_authorization(Credentials({"HTTP_BEARER_TOKEN": "a\nb"}))


@pytest.mark.parametrize("scheme", ["s3", "gs", "az"])
def test_a_library_neither_keeps_credentials_nor_tries_by_itself(scheme):
    values = {
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "key",
        "key.json": json.dumps(SERVICE_ACCOUNT),
        "AZURE_STORAGE_CONNECTION_STRING": "c",
    }
    got = build_options(Address(scheme, "models", "wine"), Credentials(values), None, 7)
    assert got["skip_instance_cache"]
    assert 7 in (
        got.get("requests_timeout"),
        got.get("read_timeout"),
        got.get("config_kwargs", {}).get("read_timeout"),
    )
    if scheme == "s3":
        assert got["config_kwargs"]["retries"]["total_max_attempts"] == 1


class BotoError(Exception):
    def __init__(self, message):
        super().__init__(message)
        self.response = {
            "Error": {"Code": "InvalidAccessKeyId", "Message": "hidden"},
            "ResponseMetadata": {"HTTPStatusCode": 403},
        }


class AzureError(Exception):
    status_code = 409
    error_code = "BlobArchived"


def test_an_error_is_told_by_code_and_status_and_never_by_its_text():
    wrapped = PermissionError("hidden")
    wrapped.__cause__ = BotoError("hidden")
    assert describe_error(wrapped) == "InvalidAccessKeyId, status 403"
    assert describe_error(AzureError("hidden")) == "BlobArchived, status 409"
    assert describe_error(ValueError("hidden")) == "ValueError"
    assert find_status(OSError(5, "hidden")) is None


def test_every_key_of_a_secret_is_in_the_docs():
    page = (Path(__file__).parents[3] / "docs" / "stores.md").read_text()
    assert [name for name in KEYS if f"`{name}`" not in page] == []


@pytest.mark.parametrize(
    "error",
    [
        AccessDenied,
        StoreUnavailable,
        TooLarge,
        LoadTimeout,
        ObserverUnavailable,
        *BundleError.__subclasses__(),
    ],
)
def test_every_reason_of_a_server_that_cannot_load_is_in_the_docs(error):
    page = (Path(__file__).parents[3] / "docs" / "stores.md").read_text()
    assert f"`{error.reason}`" in page


@pytest.mark.parametrize(
    ("url", "location", "want"),
    [
        ("https://models.example/a.tar", "https://cdn.example/b.tar", "https://cdn.example/b.tar"),
        ("https://models.example/a/b.tar", "../c.tar", "https://models.example/c.tar"),
        ("http://localhost:8000/a.tar", "http://127.0.0.1:9000/b.tar", "http://127.0.0.1:9000/b.tar"),
    ],
)
def test_a_redirect_is_followed_over_tls_and_from_this_machine_to_itself(url, location, want):
    assert follow(url, location) == want


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("https://models.example/a.tar", "http://cdn.example/b.tar"),
        # An admin port beside the server is none of the web's business.
        ("https://models.example/a.tar", "http://localhost:15000/quitquitquit"),
        # What stands before the @ is a user, whatever it is called.
        ("http://localhost:8000/a.tar", "http://localhost:80@cdn.example/b.tar"),
        ("https://models.example/a.tar", "ftp://models.example/b.tar"),
        ("https://models.example/a.tar", "http://[oops/b.tar"),
    ],
)
def test_a_redirect_elsewhere_is_not_followed(url, location):
    with pytest.raises(StoreUnavailable, match="redirects to"):
        follow(url, location)
