"""The connection to a vCenter: session, faults, properties of many objects at once, and waiting for them."""
