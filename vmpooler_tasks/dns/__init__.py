"""What writes DNS records of VMs: the protocol, the registry by entry point, `rfc2136` and `route53`."""

from vmpooler_tasks.dns.protocol import CheckedDnsPlugin, Deletion, DnsContext, DnsPlugin, DnsRecord

__all__ = ["CheckedDnsPlugin", "Deletion", "DnsContext", "DnsPlugin", "DnsRecord"]
