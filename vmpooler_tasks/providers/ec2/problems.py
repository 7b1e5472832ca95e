"""The trial of the configured options on EC2: login, privileges, and what each pool names. It changes nothing."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import boto3
from botocore import exceptions as sdk

from vmpooler_tasks.errors import PermanentProviderError
from vmpooler_tasks.providers.ec2.errors import NOT_ALLOWED_CODES, WRONG_LOGIN_CODES, code_of, text_of, translated
from vmpooler_tasks.providers.ec2.images import IMAGE_PREFIX, ImageSource, RootDevices
from vmpooler_tasks.providers.ec2.instances import INSTALLATION_TAG, IS_ALIVE, Instance, has_tag
from vmpooler_tasks.providers.ec2.launch import InstanceLaunch
from vmpooler_tasks.providers.ec2.options import Ec2Options, InstanceOptions, options_of
from vmpooler_tasks.providers.ec2.quota import find_quota_problems
from vmpooler_tasks.providers.protocol import PoolSpec, ProviderProblem

if TYPE_CHECKING:
    from types_boto3_ec2.client import EC2Client

NO_LOGIN_TEXT = (
    "there are no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a profile, or give this "
    "machine an instance profile"
)
_REFUSED_ACTION = re.compile(r"not authorized to perform: (\w+:\w+)")
"""The start of an instance may be refused for a privilege of another name, such as iam:PassRole."""

DRY_RUN = "DryRunOperation"
"""EC2's reply to a dry run of a call that is permitted and valid."""

Call = Callable[..., Any]

DRY_RUN_DEVICE = "/dev/sdf"

NO_INSTANCE_YET = (
    " (tried on an instance or volume that does not exist: a policy that asks for its tags refuses that, too)"
)

NO_SUCH_INSTANCE, NO_SUCH_VOLUME = "i-00000000000000000", "vol-00000000000000000"
"""For the trial of a privilege where this installation has no instance or volume yet."""


@dataclass(slots=True)
class Ec2Trial:
    """One trial. A missing privilege is reported once, for whatever it is needed."""

    session: boto3.session.Session
    client: "EC2Client"
    options: Ec2Options
    installation: str
    _missing: dict[str, str] = field(default_factory=dict)

    def find_problems(self, pools: Sequence[PoolSpec]) -> list[ProviderProblem]:
        """Return all problems. Raise ProviderError if EC2 cannot be reached."""
        try:
            if problem := self._login():
                return [ProviderProblem(text=problem)]
            self._try_calls_of_all_pools(pools)
            found = [problem for pool in pools for problem in self._of_pool(pool)]
            found += find_quota_problems(self.session, self.client, self.options, pools, self._missing)
        except (sdk.ClientError, sdk.BotoCoreError) as error:
            raise translated(error) from error
        missing = [
            ProviderProblem(text=f"missing privilege {name}{hint}") for name, hint in sorted(self._missing.items())
        ]
        return missing + found

    def _login(self) -> str:
        """Return what is wrong with the login, or an empty text."""
        if self.session.get_credentials() is None:
            return NO_LOGIN_TEXT
        try:
            self.client.describe_instances(DryRun=True)
        except sdk.ClientError as error:
            if code_of(error) in WRONG_LOGIN_CODES:
                return f"EC2 does not accept the login: {text_of(error)}"
        return ""

    def _try_calls_of_all_pools(self, pools: Sequence[PoolSpec]) -> None:
        """Try the calls that are needed for every pool, and note each missing privilege."""
        own, client = self._own_instance(), self.client
        instance = own.id if own else NO_SUCH_INSTANCE
        zone = own.zone if own else self.options.zone or f"{client.meta.region_name}a"
        tag = {"Key": INSTALLATION_TAG, "Value": self.installation or "none"}
        device = {"DeviceName": DRY_RUN_DEVICE, "Ebs": {"DeleteOnTermination": True}}
        hint = "" if own else NO_INSTANCE_YET
        calls: list[tuple[Call, dict[str, Any], str]] = [
            (client.describe_volumes, {}, ""),
            (client.create_tags, {"Resources": [instance], "Tags": [tag]}, hint),
            (client.terminate_instances, {"InstanceIds": [instance]}, hint),
            (
                client.modify_instance_attribute,
                {"InstanceId": instance, "BlockDeviceMappings": [device]},
                hint,
            ),
            (client.create_volume, {"AvailabilityZone": zone, "Size": 1}, ""),
            (
                client.attach_volume,
                {"InstanceId": instance, "VolumeId": NO_SUCH_VOLUME, "Device": DRY_RUN_DEVICE},
                NO_INSTANCE_YET,
            ),
            (client.delete_volume, {"VolumeId": NO_SUCH_VOLUME}, NO_INSTANCE_YET),
        ]
        if any(options.readiness == "status" for options in self._valid_options(pools)):
            calls.append((client.describe_instance_status, {}, ""))
        for call, arguments, reason in calls:
            self._try(call, reason, DryRun=True, **arguments)

    def _own_instance(self) -> Instance | None:
        """Return an instance of this installation, if there is one."""
        filters = [IS_ALIVE, *([has_tag(INSTALLATION_TAG, self.installation)] if self.installation else [])]
        found = self._try(self.client.describe_instances, Filters=filters, MaxResults=5)
        reservations = found["Reservations"] if isinstance(found, dict) and self.installation else []
        return next((Instance.of(raw) for reservation in reservations for raw in reservation["Instances"]), None)

    def _valid_options(self, pools: Sequence[PoolSpec]) -> Iterator[InstanceOptions]:
        for pool in pools:
            try:
                yield options_of(self.options, pool)
            except PermanentProviderError:
                continue  # reported for the pool

    def _of_pool(self, pool: PoolSpec) -> Iterator[ProviderProblem]:
        try:
            options = options_of(self.options, pool)
            source = ImageSource.of(pool, options)
            options.user_data_text  # noqa: B018 - it reads the file
        except PermanentProviderError as error:
            yield ProviderProblem(text=str(error), pool=pool.name)
            return
        texts = list(self._of_names(options, source))
        yield from (ProviderProblem(text=text, pool=pool.name) for text in texts)
        for text in self._of_start(pool, options):
            if not texts:  # EC2 would say the same again
                yield ProviderProblem(text=text, pool=pool.name)

    def _of_names(self, options: InstanceOptions, source: ImageSource) -> Iterator[str]:
        """Yield what EC2 does not have of what the pool names."""
        for option, call, arguments in self._queries(options, source):
            found = self._try(call, **arguments)
            if isinstance(found, str):
                yield f"{option}: {found}"
            elif found is not None and (text := _unusable(found)):
                yield f"{option}: {text}"

    def _queries(self, options: InstanceOptions, source: ImageSource) -> Iterator[tuple[str, Call, dict[str, Any]]]:
        """Yield the option, and the call that finds what it names."""
        client = self.client
        if source.image and source.image.startswith(IMAGE_PREFIX):
            yield "template", client.describe_images, {"ImageIds": [source.image]}
        if source.launch_template:
            wanted: dict[str, Any] = {**source.launch_template}
            version = {"Versions": [wanted.pop("Version")]}
            yield "template", client.describe_launch_template_versions, {**wanted, **version}
        for subnet in options.subnets:
            yield "subnets", client.describe_subnets, {"SubnetIds": [subnet]}
        for group in options.security_groups:
            yield "security_groups", client.describe_security_groups, {"GroupIds": [group]}
        if options.key_name:
            yield "key_name", client.describe_key_pairs, {"KeyNames": [options.key_name]}
        for zone in (place.zone for place in options.places if place.zone):
            yield "zone", client.describe_availability_zones, {"ZoneNames": [zone]}

    def _of_start(self, pool: PoolSpec, options: InstanceOptions) -> Iterator[str]:
        """Yield what EC2 says to a dry run of the start in each place."""
        launch = InstanceLaunch(vm="vmpooler-tasks-dry-run", pool=pool, installation=self.installation, options=options)
        try:
            base = launch.request(self.client, RootDevices())
        except PermanentProviderError as error:
            yield str(error)
            return
        except sdk.ClientError as error:
            if text := self._refusal(error):
                yield text
            return
        for place in launch.places():
            arguments: dict[str, Any] = {**base, **launch.network(place)}
            found = self._try(self.client.run_instances, DryRun=True, **arguments)
            if isinstance(found, str):
                yield f"{place}: {found}"

    def _try(self, call: Call, hint: str = "", **arguments: Any) -> Any:
        """Return the reply, the text of EC2's refusal, or None. Note a missing privilege."""
        try:
            return call(**arguments)
        except sdk.ClientError as error:
            return self._refusal(error, hint)

    def _refusal(self, error: sdk.ClientError, hint: str = "") -> str | None:
        """Return EC2's words. Return None for a successful dry run, and for a missing privilege, which is noted."""
        code = code_of(error)
        if code in NOT_ALLOWED_CODES:
            named = _REFUSED_ACTION.search(text_of(error))
            self._missing.setdefault(named[1] if named else f"ec2:{error.operation_name}", hint)
            return None
        return None if code == DRY_RUN else text_of(error)


def _unusable(found: dict[str, Any]) -> str:
    """Return why what was found cannot be used, or an empty text."""
    if "Images" in found:
        states = [image["State"] for image in found["Images"]] or ["gone"]
        return "" if states == ["available"] else f"the image is {states[0]}"
    if "AvailabilityZones" in found:
        return "" if found["AvailabilityZones"] else "there is no such availability zone"
    full = [subnet["SubnetId"] for subnet in found.get("Subnets", []) if not subnet["AvailableIpAddressCount"]]
    return f"{full[0]} has no free address" if full else ""
