"""The code of functions: the bundles of `cdk.bundling`, one asset each."""

import shutil
from functools import cache

import jsii
from aws_cdk import AssetHashType, BundlingOptions, BundlingOutput, DockerImage, ILocalBundling
from aws_cdk import aws_lambda as lambda_

from cdk.bundling import AI, CONTROL, ROOT, Architecture, build
from cdk.config import BundleName

BUNDLES = {BundleName.CONTROL: CONTROL, BundleName.AI: AI}
SOURCE = ROOT / "requirements"
"""CDK needs a source folder. The asset is the bundle built from it."""


@jsii.implements(ILocalBundling)
class WithoutDocker:
    """Copies a finished bundle into CDK's output folder."""

    def __init__(self, bundle: BundleName, architecture: Architecture) -> None:
        self._bundle, self._architecture = bundle, architecture

    def try_bundle(self, output_dir: str, *_options: object, **_more: object) -> bool:
        """Gives True or raises `BundleRefused`. There is no fallback to Docker."""
        shutil.copy(build(BUNDLES[self._bundle], self._architecture).path, output_dir)
        return True


@cache
def bundled_code(bundle: BundleName, architecture: Architecture) -> lambda_.Code:
    """Gives all functions of a bundle the same object, so that it is built and uploaded once."""
    return lambda_.Code.from_asset(
        str(SOURCE),
        asset_hash_type=AssetHashType.OUTPUT,
        bundling=BundlingOptions(
            image=DockerImage.from_registry("no-docker"),
            local=WithoutDocker(bundle, architecture),
            environment={"BUNDLE": bundle, "ARCHITECTURE": architecture},
            output_type=BundlingOutput.ARCHIVED,
        ),
    )
