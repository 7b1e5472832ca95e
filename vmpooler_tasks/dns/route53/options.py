"""The options of an entry of `:dns_configs:` whose `dns_class` is `route53`."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator


class Route53Options(BaseModel):
    """The hosted zone, and the login. Without one, the SDK finds it itself: environment, files, role of the machine."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)

    zone_id: str | None = Field(None, min_length=1, description="id of the hosted zone; else the one of `domain`")
    aws_access_key_id: str | None = Field(None, description="access key; else the SDK's own chain")
    aws_secret_access_key: SecretStr | None = Field(None, description="its secret")
    aws_session_token: SecretStr | None = Field(None, description="its session token, if it is a temporary one")
    profile: str | None = Field(None, description="profile in the SDK's own files")
    region: str = Field("us-east-1", description="region that signs the requests; Route 53 itself has none")
    endpoint_url: str | None = Field(None, description="address of the API, if it is not Amazon's own")
    ttl: Annotated[int, Field(ge=0, le=86_400)] = Field(60, description="seconds that others may keep a record")
    timeout: Annotated[float, Field(gt=0, le=60)] = Field(10, description="seconds that one request may take")

    @field_validator("zone_id")
    @classmethod
    def _without_its_path(cls, given: str | None) -> str | None:
        return given and given.removeprefix("/hostedzone/")

    @model_validator(mode="after")
    def _login_is_whole(self) -> Self:
        if bool(self.aws_access_key_id) is not bool(self.aws_secret_access_key):
            raise ValueError("aws_access_key_id and aws_secret_access_key belong together: set both, or none")
        return self
