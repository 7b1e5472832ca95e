"""Records by dynamic updates (RFC 2136) of any server that takes them: BIND, Knot, PowerDNS, Windows."""

from vmpooler_tasks.dns.protocol import DnsContext
from vmpooler_tasks.dns.rfc2136.options import Rfc2136Options
from vmpooler_tasks.dns.rfc2136.plugin import Rfc2136
from vmpooler_tasks.dns.rfc2136.server import UpdateServer

__all__ = ["Rfc2136", "rfc2136"]


def rfc2136(context: DnsContext) -> Rfc2136:
    """Return the plugin of this entry."""
    given = {"zone": context.domain, **context.options}
    options = Rfc2136Options.model_validate(given, context={"domain": context.domain})
    return Rfc2136(UpdateServer(options), context.installation, options.ttl)
