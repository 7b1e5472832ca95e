"""The DNS records of VMs."""
