"""Every database and network is synthesized; the rules of cdk-nag and cfn-lint hold for all of them."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.infrastructure.synthesis import PYTHON, ROOT, VARIANTS, Resources, of_type, template


@pytest.mark.parametrize("name", VARIANTS)
def test_nothing_is_said_against_the_templates(name: str, variant: Callable[[str], Path]) -> None:
    templates = [str(path) for path in variant(name).glob("*.template.json")]
    assert len(templates) == 2
    done = subprocess.run(
        [str(PYTHON.with_name("cfn-lint")), *templates], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


@pytest.fixture
def proxied(variant: Callable[[str], Path]) -> tuple[Resources, Resources]:
    output = variant("proxy")
    return template(output, "engine-dev-data"), template(output, "engine-dev-app")


def test_a_proxy_is_reached_by_tls_only_and_holds_no_password(proxied: tuple[Resources, Resources]) -> None:
    data, _ = proxied
    (proxy,) = of_type(data, "AWS::RDS::DBProxy").values()
    assert (proxy["RequireTLS"], proxy["DefaultAuthScheme"]) == (True, "IAM_AUTH")
    assert "Auth" not in proxy
    (targets,) = of_type(data, "AWS::RDS::DBProxyTargetGroup").values()
    assert targets["DBClusterIdentifiers"] == [{"Ref": "DatabaseCluster5B53A178"}]
    (policy,) = data[proxy["RoleArn"]["Fn::GetAtt"][0]]["Properties"]["Policies"]
    (may,) = policy["PolicyDocument"]["Statement"]
    assert may["Action"] == "rds-db:connect"
    assert may["Resource"]["Fn::Join"][1][-1] == "/engine_app"


def test_functions_go_through_the_proxy_and_the_migration_past_it(proxied: tuple[Resources, Resources]) -> None:
    _, app = proxied
    functions = of_type(app, "AWS::Lambda::Function")
    urls = {name: str(each["Environment"]["Variables"]["DATABASE_URL"]) for name, each in functions.items()}
    through = {name for name, url in urls.items() if "DatabaseProxy" in url}
    assert through == {name for name in functions if not name.startswith("Migrate")}
    assert all("amazon-trust-roots.pem" in urls[name] for name in through)
    assert all("rds-global-bundle.pem" in urls[name] for name in set(urls) - through)


def test_a_proxy_and_the_database_speak_with_each_other_inside_their_group(
    proxied: tuple[Resources, Resources],
) -> None:
    data, _ = proxied
    (group,) = (name for name in of_type(data, "AWS::EC2::SecurityGroup") if name.startswith("DatabaseGroup"))
    both = {"Fn::GetAtt": [group, "GroupId"]}
    inward = of_type(data, "AWS::EC2::SecurityGroupIngress").values()
    outward = of_type(data, "AWS::EC2::SecurityGroupEgress").values()
    assert any((each["GroupId"], each["SourceSecurityGroupId"]) == (both, both) for each in inward)
    assert any((each["GroupId"], each["DestinationSecurityGroupId"]) == (both, both) for each in outward)


def test_no_variant_but_the_proxy_has_one(variant: Callable[[str], Path]) -> None:
    for name in set(VARIANTS) - {"proxy"}:
        assert of_type(template(variant(name), "engine-dev-data"), "AWS::RDS::DBProxy") == {}, name


def test_keys_of_models_are_read_by_those_who_call_and_poll_them(variant: Callable[[str], Path]) -> None:
    """Nobody else learns where they are."""
    app = template(variant("models"), "engine-dev-app")
    secret = VARIANTS["models"]["engine:model_keys"]
    told = {
        name.split("Function")[0]
        for name, each in of_type(app, "AWS::Lambda::Function").items()
        if each["Environment"]["Variables"].get("ENGINE_MODEL_KEYS_SECRET") == secret
    }
    may = {name.split("Role")[0] for name, each in of_type(app, "AWS::IAM::Role").items() if f"'{secret}'" in str(each)}
    assert told == may == {"Jobsai", "Maintenance"}
