"""Errors of libvirt: what a provider raises instead, and which permission is missing."""
