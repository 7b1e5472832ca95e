"""What an instance is made from: an image, a launch template, or both."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vmpooler_tasks.errors import PermanentProviderError
from vmpooler_tasks.providers.ec2.options import InstanceOptions
from vmpooler_tasks.providers.protocol import PoolSpec

if TYPE_CHECKING:
    from types_boto3_ec2.client import EC2Client
    from types_boto3_ec2.type_defs import LaunchTemplateSpecificationTypeDef

IMAGE_PREFIX, PARAMETER_PREFIX, LAUNCH_TEMPLATE_PREFIX = "ami-", "resolve:ssm:", "lt-"


@dataclass(frozen=True, slots=True)
class ImageSource:
    """The image, and the launch template. With both, the image replaces the one of the launch template."""

    image: str | None
    launch_template: "LaunchTemplateSpecificationTypeDef | None"

    @classmethod
    def of(cls, pool: PoolSpec, options: InstanceOptions) -> "ImageSource":
        """Return the source of a pool. Raise PermanentProviderError if it has none.

        `template` is an image (`ami-…`, or `resolve:ssm:…`, a parameter that names one), else a launch template.
        """
        template = pool.template or ""
        if template.startswith((IMAGE_PREFIX, PARAMETER_PREFIX)):
            return cls(template, _launch_template(options.launch_template))
        if not template and not options.launch_template:
            raise PermanentProviderError(f"pool {pool.name} has no template: name an image or a launch template")
        return cls(None, _launch_template(template or options.launch_template))


def _launch_template(text: str | None) -> "LaunchTemplateSpecificationTypeDef | None":
    """Return the launch template of `ID`, `NAME`, or either with `:VERSION`. Without a version, its default one."""
    if not text:
        return None
    name, _, version = text.partition(":")
    which: LaunchTemplateSpecificationTypeDef = (
        {"LaunchTemplateId": name} if name.startswith(LAUNCH_TEMPLATE_PREFIX) else {"LaunchTemplateName": name}
    )
    return {**which, "Version": version or "$Default"}


class RootDevices:
    """The root device of each image, such as /dev/xvda. It never changes, so that it is read once."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def of(self, client: "EC2Client", source: ImageSource) -> str:
        """Return the name of the root device. Raise PermanentProviderError if EC2 does not know it."""
        image = source.image or _image_of(client, source)
        if not image.startswith(IMAGE_PREFIX):
            raise PermanentProviderError(
                "volume_size and volume_type need an image that is named by its id; use volume_sizes with the device"
            )
        if image not in self._known:
            found = client.describe_images(ImageIds=[image])["Images"]
            if not found or found[0].get("RootDeviceType") != "ebs":
                raise PermanentProviderError(f"image {image} has no root volume whose size could be set")
            self._known[image] = found[0]["RootDeviceName"]
        return self._known[image]


def _image_of(client: "EC2Client", source: ImageSource) -> str:
    """Return the image of a launch template, or an empty text."""
    wanted = source.launch_template or {}
    version = wanted.get("Version", "$Default")
    if "LaunchTemplateId" in wanted:
        found = client.describe_launch_template_versions(
            LaunchTemplateId=wanted["LaunchTemplateId"], Versions=[version]
        )
    else:
        found = client.describe_launch_template_versions(
            LaunchTemplateName=wanted.get("LaunchTemplateName", ""), Versions=[version]
        )
    return found["LaunchTemplateVersions"][0]["LaunchTemplateData"].get("ImageId", "")
