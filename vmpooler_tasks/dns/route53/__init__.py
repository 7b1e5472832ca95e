"""Records in a hosted zone of Amazon Route 53."""

from vmpooler_tasks.dns.protocol import DnsContext
from vmpooler_tasks.dns.route53.options import Route53Options
from vmpooler_tasks.dns.route53.plugin import Route53
from vmpooler_tasks.dns.route53.zone import HostedZone

__all__ = ["Route53", "route53"]


def route53(context: DnsContext) -> Route53:
    """Return the plugin of this entry."""
    options = Route53Options.model_validate(dict(context.options))
    return Route53(HostedZone(options, context.domain), context.installation, options.ttl)
