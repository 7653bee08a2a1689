import json
import ssl
import urllib.parse
from pathlib import Path

import pytest

from engine.adapters.aws.clients import Clients
from engine.adapters.aws.database_login import IamPassword, secret_password, verified_tls
from engine.adapters.aws.secrets import SecretReader
from engine.domain.errors import SettingsError, StoreError, StoreUnavailable
from tests.unit.aws.conftest import StoppedClock
from tests.unit.aws.stubs import Recorded, aws_error, only


def iam(clients: Clients, clock: StoppedClock) -> IamPassword:
    return IamPassword(clients, clock, host="db.example", port=5432, user="engine")


def test_a_database_token_is_for_one_user_of_one_server(clients: Clients, clock: StoppedClock) -> None:
    token = urllib.parse.urlsplit(f"https://{iam(clients, clock)()}")
    query = urllib.parse.parse_qs(token.query)
    assert token.netloc == "db.example:5432"
    assert (query["Action"], query["DBUser"], query["X-Amz-Expires"]) == (["connect"], ["engine"], ["900"])


def test_a_database_token_is_replaced_long_before_it_expires(clock: StoppedClock) -> None:
    rds = Recorded("first", "second")
    password = iam(only(rds), clock)
    assert password() == "first"
    clock.advance(minutes=9, seconds=59)
    assert password() == "first"
    clock.advance(seconds=1)
    assert password() == "second"


def test_a_secret_is_read_once_until_it_is_old_or_forgotten(clock: StoppedClock) -> None:
    manager = Recorded(*({"SecretString": str(number)} for number in range(3)))
    reader = SecretReader(only(manager), clock)
    assert [reader.text("s"), reader.text("s")] == ["0", "0"]
    clock.advance(minutes=5)
    assert reader.text("s") == "1"
    reader.forget("s")
    assert reader.text("s") == "2"


def test_the_password_of_a_secret_follows_its_rotation(clients: Clients, clock: StoppedClock) -> None:
    manager = clients("secretsmanager")
    manager.create_secret(Name="db", SecretString=json.dumps({"username": "u", "password": "old"}))
    reader = SecretReader(clients, clock)
    password = secret_password(reader, "db")
    assert password() == "old"
    manager.put_secret_value(SecretId="db", SecretString=json.dumps({"username": "u", "password": "new"}))
    reader.forget("db")
    assert password() == "new"


@pytest.mark.parametrize("text", ["hunter2", '["hunter2"]', '{"pass": "hunter2"}'])
def test_a_secret_of_the_wrong_shape_is_named_and_not_quoted(clock: StoppedClock, text: str) -> None:
    reader = SecretReader(only(Recorded({"SecretString": text})), clock)
    with pytest.raises(SettingsError, match="'db'") as refusal:
        secret_password(reader, "db")()
    assert "hunter2" not in str(refusal.value)


def test_a_secret_that_cannot_be_read_now_is_told_from_one_that_never_can(clock: StoppedClock) -> None:
    with pytest.raises(StoreUnavailable):
        SecretReader(only(Recorded(aws_error("InternalServiceError", 500))), clock).text("s")
    with pytest.raises(StoreError, match="'s'") as refusal:
        SecretReader(only(Recorded(aws_error("ResourceNotFoundException"))), clock).text("s")
    assert type(refusal.value) is StoreError


def test_a_tls_context_always_verifies_the_server() -> None:
    context = verified_tls()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


@pytest.mark.parametrize("content", [None, "not a certificate"])
def test_a_useless_bundle_is_refused_by_the_name_of_its_setting(tmp_path: Path, content: str | None) -> None:
    bundle = tmp_path / "bundle.pem"
    if content:
        bundle.write_text(content)
    with pytest.raises(SettingsError, match="ENGINE_DB_CA_FILE"):
        verified_tls(bundle)
