import subprocess
import sys

from engine.adapters.aws.clients import Clients


def test_a_client_is_made_once(clients: Clients) -> None:
    assert clients("sqs") is clients("sqs")
    assert clients("sqs") is not clients("s3")


def test_no_adapter_imports_boto3_before_it_is_used() -> None:
    script = (
        "import pkgutil, sys, importlib, engine.adapters.aws as aws\n"
        "for each in pkgutil.iter_modules(aws.__path__, 'engine.adapters.aws.'):\n"
        "    importlib.import_module(each.name)\n"
        "print('boto3' in sys.modules, 'botocore.session' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", script], text=True).split() == ["False", "False"]
