"""An account at Amazon Bedrock: region, bucket, roles and keys; AWS's own credential chain where it names none."""

import os
from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from batchmeter.errors import ConfigError
from batchmeter.http import origin_of
from batchmeter.models import Secret
from batchmeter.providers import AccountSettings
from batchmeter_translate.buckets import folder_in

_AWS = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")
_ROLE = "arn:aws"


def _env(*names: str) -> str | None:
    return next((value for name in names if (value := os.environ.get(name, "").strip())), None)


class BedrockSettings(AccountSettings):
    """Without keys or `profile`, AWS's credential chain is taken (environment, profiles, SSO, roles), for AWS's hosts alone."""

    addresses: ClassVar[tuple[str, ...]] = ("api_base", "storage_base")
    of_the_host: ClassVar[frozenset[str]] = frozenset(
        {"api_key", "access_key_id", "secret_access_key", "session_token", "profile"}
    )
    renewed: ClassVar[frozenset[str]] = frozenset({"session_token", "access_key_id", "secret_access_key"})
    spellings: ClassVar[Mapping[str, str]] = {
        "aws_region_name": "region",
        "aws_access_key_id": "access_key_id",
        "aws_secret_access_key": "secret_access_key",
        "aws_session_token": "session_token",
        "aws_profile_name": "profile",
        "aws_batch_role_arn": "role_arn",
        "aws_bedrock_runtime_endpoint": "api_base",
        "s3_bucket_name": "bucket",
        "s3_region_name": "bucket_region",
        "s3_endpoint_url": "storage_base",
        "s3_encryption_key_id": "encryption_key_id",
    }

    region: str | None = Field(
        default_factory=lambda: _env("AWS_REGION_NAME", "AWS_REGION", "AWS_DEFAULT_REGION"),
        pattern="^[a-z]{2}[a-z0-9-]+$",
    )
    """The region of the jobs, which decides rates too: `us-east-1`."""
    role_arn: str | None = Field(default_factory=lambda: _env("AWS_BATCH_ROLE_ARN"))
    """The service role that Bedrock reads and writes the bucket with (`arn:aws:iam::…:role/…`)."""
    bucket: str | None = Field(default_factory=lambda: _env("AWS_S3_BUCKET_NAME"))
    """`my-bucket`, `my-bucket/folder` or `s3://my-bucket/folder`."""
    prefix: str = Field(default="batchmeter", pattern=r"^[A-Za-z0-9/!_*'().-]*$")
    """Folder in the bucket; everything this account writes is below it."""
    bucket_region: str | None = None
    """The bucket's region, where it is another than the jobs'."""
    storage_base: str | None = None
    """S3's address, for private endpoints and for servers that speak S3."""
    access_key_id: Secret | None = None
    """A key of the account's own, with `secret_access_key`."""
    secret_access_key: Secret | None = None
    """The secret of `access_key_id`."""
    session_token: Secret | None = None
    """The token of a temporary `access_key_id`."""
    profile: str | None = None
    """A profile of `~/.aws/config`, which may assume a role; by default `AWS_PROFILE`."""
    api_key: Secret | None = Field(default_factory=lambda: None)
    """A Bedrock API key, as a bearer, for the jobs; S3 takes none, and is signed for."""
    format: Literal["openai", "native"] = "openai"
    """`native`: files and answers are Bedrock's own rows (`{"recordId", "modelInput"}`), untouched."""
    min_records: int = Field(default=100, ge=0)
    """Fewest requests of one job, as the model's quota in the region says; 0: no check."""
    max_records: int = Field(default=50_000, gt=0)
    """Most requests of one job, by the same quotas."""
    max_tokens: int | None = Field(default=None, gt=0)
    """`max_tokens` of Claude requests that name no limit, which Claude demands; by default 4,096, or 16,384 with thinking."""
    models: dict[str, str] = Field(default_factory=dict[str, str])
    """A name in the lines, or an application inference profile's ARN -> the foundation model behind it, for its rows and
    its price."""
    encryption_key_id: str | None = None
    """The KMS key that answers are encrypted with; by default the bucket's."""
    bucket_owner: str | None = Field(default=None, pattern="^[0-9]{12}$")
    """The AWS account that owns the bucket, where it is another."""
    retry_queue_full: float = Field(default=0.0, ge=0)
    """Seconds within which a create that a quota of running jobs refused is tried again; 0: not."""

    @field_validator("role_arn")
    @classmethod
    def _is_a_role(cls, arn: str | None) -> str | None:
        if arn is not None and not (arn.startswith(_ROLE) and ":role/" in arn):
            raise ValueError(f"{arn!r} is no role; it reads arn:aws:iam::123456789012:role/NAME")
        return arn

    @model_validator(mode="after")
    def _whole_keys(self) -> "BedrockSettings":
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("takes `access_key_id` and `secret_access_key` together")
        return self

    def address(self) -> str | None:
        """The one of its two that is not AWS's, if any is."""
        named = [base for base in (self.api_base, self.storage_base) if base]
        return next((base for base in named if not self.is_usual(base)), next(iter(named), None))

    @classmethod
    def is_usual(cls, address: str) -> bool:
        """Whether it is AWS's, private endpoints in a customer's network included."""
        scheme, host, _ = origin_of(address)
        return scheme == "https" and host.endswith(_AWS)

    @property
    def host(self) -> str:
        """The control plane at this region."""
        return (self.api_base or f"https://bedrock.{self.place}.{_domain(self.place)}").rstrip("/")

    @property
    def storage_host(self) -> str:
        place = self.storage_place
        return (self.storage_base or f"https://s3.{place}.{_domain(place)}").rstrip("/")

    @property
    def place(self) -> str:
        if not self.region:
            raise ConfigError("bedrock needs a region: set `region` in the account, or AWS_REGION")
        return self.region

    @property
    def storage_place(self) -> str:
        return self.bucket_region or self.place

    def folder(self) -> tuple[str, str]:
        """Bucket and the folder in it, without slashes at the ends."""
        if not self.bucket:
            raise ConfigError(
                "bedrock needs an S3 bucket for batch files: set `bucket` in the account, or AWS_S3_BUCKET_NAME"
            )
        return folder_in(self.bucket, self.prefix, "s3")

    @property
    def role(self) -> str:
        if not self.role_arn:
            raise ConfigError(
                "bedrock needs the service role that its jobs read and write the bucket with: set `role_arn` in the "
                "account, or AWS_BATCH_ROLE_ARN"
            )
        return self.role_arn


def _domain(region: str) -> str:
    return "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
