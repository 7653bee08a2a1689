"""The authorities that functions trust are RDS's and Amazon's, all of them good for years."""

import hashlib
import re
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cdk import certificates
from cdk.certificates import check_certificates
from cdk.config import ConfigRefused, load_config
from tests.infrastructure.synthesis import synthesize
from tests.infrastructure.test_config import CONTEXT

ROOT = Path(__file__).parents[2]
PUBLISHED = "aa6b73726c21176cc714815278d6ebc932f293b3"
"""The SHA-1 thumbprint that RDS itself says of rds-ca-rsa2048-g1 in ap-southeast-1 (describe-certificates)."""


def trusted(name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(ROOT / name)
    return context


def common_name(certificate: Any) -> str:
    return str({key: value for part in certificate["subject"] for key, value in part}["commonName"])


@pytest.mark.parametrize(("name", "count"), [(certificates.RDS, 81), (certificates.PROXY, 5)])
def test_all_are_roots_that_hold_for_ten_years(name: str, count: int) -> None:
    context = trusted(name)
    found = context.get_ca_certs()
    assert context.cert_store_stats() == {"x509": count, "crl": 0, "x509_ca": count}
    assert (ROOT / name).read_text().count("BEGIN CERTIFICATE") == count
    for each in found:
        assert each["subject"] == each["issuer"]
        until = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(each["notAfter"])), UTC)
        assert until > datetime.now(UTC) + timedelta(days=3650), common_name(each)


def test_each_region_has_all_three_kinds_of_root() -> None:
    names = {common_name(each) for each in trusted(certificates.RDS).get_ca_certs()}
    matched = [re.fullmatch(r"Amazon RDS ([a-z]+-[a-z]+-\d) Root CA (RSA2048|RSA4096|ECC384) G1", n) for n in names]
    pairs = {(each[1], each[2]) for each in matched if each}
    assert len(pairs) == len(names) == 81
    assert len({region for region, _ in pairs}) == 27


def test_the_roots_of_a_proxy_are_those_of_amazon_trust_services() -> None:
    names = {common_name(each) for each in trusted(certificates.PROXY).get_ca_certs()}
    assert names == {f"Amazon Root CA {n}" for n in (1, 2, 3, 4)} | {
        "Starfield Services Root Certificate Authority - G2"
    }


def test_one_of_them_is_what_rds_says_it_is() -> None:
    thumbprints = {hashlib.sha1(der).hexdigest() for der in trusted(certificates.RDS).get_ca_certs(binary_form=True)}
    assert PUBLISHED in thumbprints


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1", "ap-southeast-4", None])
def test_regions_in_the_bundle_are_deployed_to(region: str | None) -> None:
    check_certificates(load_config(CONTEXT), region)


def test_a_region_that_is_not_in_the_bundle_is_refused_by_name() -> None:
    with pytest.raises(ConfigRefused, match=r"^database: 'aurora' .* no certificate of the region 'il-central-1'; get"):
        check_certificates(load_config(CONTEXT), "il-central-1")


def test_an_external_database_needs_no_certificates() -> None:
    external = {"engine:database": "external-url", "engine:external_url": "postgresql://here/it"}
    check_certificates(load_config(CONTEXT | external | {"engine:network": "none"}), "il-central-1")


@pytest.mark.parametrize("region", ["us-east-1", None])
def test_a_bundle_that_is_not_there_is_refused_by_name(region: str | None, tmp_path: Path) -> None:
    with pytest.raises(ConfigRefused, match="which is not there; get AWS's own by `make rds-certificates`"):
        check_certificates(load_config(CONTEXT), region, tmp_path / "gone.pem")


def test_a_region_without_certificates_ends_the_deployment_before_anything_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CDK_DEFAULT_REGION", "il-central-1")
    done = synthesize(tmp_path, "dev", **{"skip-bundling": ""})
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("cdk.json: database: 'aurora' is verified by functions/rds-global-bundle.pem, which")
