"""The DNS records that this installation made, as Redis notes them."""
