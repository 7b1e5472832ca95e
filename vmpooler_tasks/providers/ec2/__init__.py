"""VMs as instances of Amazon EC2, or of a service with the same API.

`vmpooler_tasks.providers.ec2.options` lists the options; docs/providers/ec2.md has a worked example. The extra `ec2`
installs boto3.
"""

from vmpooler_tasks.providers.ec2.provider import Ec2
from vmpooler_tasks.providers.protocol import ProviderContext


def ec2(context: ProviderContext) -> Ec2:
    """Return the provider. Raise ValueError for wrong options. Open no connection."""
    return Ec2(context)
