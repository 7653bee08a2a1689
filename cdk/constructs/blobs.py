"""The bucket for artifacts, uploads, and values that are too large for a row."""

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import Construct

MAX_SIGNATURE_AGE = Duration.minutes(15)
KEPT_VERSIONS = Duration.days(30)
UNFINISHED_UPLOADS = Duration.days(7)


class Blobs(Construct):
    """An encrypted, private bucket, for TLS only. Deleted objects can be restored for 30 days."""

    def __init__(self, scope: Construct, construct_id: str, *, keep: bool) -> None:
        super().__init__(scope, construct_id)
        self.bucket = s3.Bucket(
            self,
            "Bucket",
            encryption=s3.BucketEncryption.S3_MANAGED,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            versioned=True,
            lifecycle_rules=[
                s3.LifecycleRule(
                    noncurrent_version_expiration=KEPT_VERSIONS,
                    abort_incomplete_multipart_upload_after=UNFINISHED_UPLOADS,
                    expired_object_delete_marker=True,
                )
            ],
            removal_policy=RemovalPolicy.RETAIN if keep else RemovalPolicy.DESTROY,
        )
        self.bucket.add_to_resource_policy(self._no_old_signatures())

    def _no_old_signatures(self) -> iam.PolicyStatement:
        """Limits every signed URL to 15 minutes."""
        return iam.PolicyStatement(
            sid="NoOldSignatures",
            effect=iam.Effect.DENY,
            principals=[iam.AnyPrincipal()],
            actions=["s3:*"],
            resources=[self.bucket.arn_for_objects("*")],
            conditions={
                "StringEquals": {"s3:authType": "REST-QUERY-STRING"},
                "NumericGreaterThan": {"s3:signatureAge": MAX_SIGNATURE_AGE.to_milliseconds()},
            },
        )
