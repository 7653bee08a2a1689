"""What functions run: the bundles of `cdk.bundling`, one asset each."""

import shutil
from functools import cache

import jsii
from aws_cdk import AssetHashType, BundlingOptions, BundlingOutput, DockerImage, ILocalBundling
from aws_cdk import aws_lambda as lambda_

from cdk.bundling import AI, CONTROL, ROOT, Architecture, build
from cdk.config import BundleName

BUNDLES = {BundleName.CONTROL: CONTROL, BundleName.AI: AI}
SOURCE = ROOT / "requirements"
"""CDK wants a folder to begin with; only the bundle made of it counts."""


@jsii.implements(ILocalBundling)
class WithoutDocker:
    """Puts a finished bundle where CDK wants it."""

    def __init__(self, bundle: BundleName, architecture: Architecture) -> None:
        self._bundle, self._architecture = bundle, architecture

    def try_bundle(self, output_dir: str, *_options: object, **_more: object) -> bool:
        """Always succeeds, or raises `BundleRefused`: there is no other way to make it."""
        shutil.copy(build(BUNDLES[self._bundle], self._architecture).path, output_dir)
        return True


@cache
def bundled_code(bundle: BundleName, architecture: Architecture) -> lambda_.Code:
    """The same object for all functions of a bundle, so that it is made and uploaded once."""
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
