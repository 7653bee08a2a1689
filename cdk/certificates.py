"""The root certificates by which functions verify their database."""

import ssl
from pathlib import Path

from cdk.bundling import ROOT
from cdk.config import Config, ConfigRefused, DatabaseKind

RDS = "functions/rds-global-bundle.pem"
PROXY = "functions/amazon-trust-roots.pem"
"""RDS Proxy has certificates of Amazon Trust Services instead of RDS."""

END = "-----END CERTIFICATE-----"
BEGIN = "-----BEGIN CERTIFICATE-----"


def check_certificates(config: Config, region: str | None, bundle: Path = ROOT / RDS) -> None:
    """Checks that the bundle has the root certificates of RDS in `region`. Raises `ConfigRefused`.

    `region` is None without credentials that name it.
    """
    if config.database is DatabaseKind.EXTERNAL:
        return
    remedy = "get AWS's own by `make rds-certificates` and commit it"
    if not bundle.exists():
        wrong = "which is not there"
    elif region is not None and not vouch_for(region, bundle):
        wrong = f"which has no certificate of the region {region!r}"
    else:
        return
    raise ConfigRefused(f"database: {config.database.value!r} is verified by {RDS}, {wrong}; {remedy}.")


def vouch_for(region: str, bundle: Path) -> bool:
    """True when `bundle` has root certificates of RDS in that region."""
    wanted = f"Amazon RDS {region} Root CA".encode()
    parts = bundle.read_text(encoding="ascii").split(END)[:-1]
    # A certificate contains the name as plain text.
    return any(wanted in ssl.PEM_cert_to_DER_cert(BEGIN + part.partition(BEGIN)[2] + END) for part in parts)
