"""What the pool workers keep in Redis: clones, destructions, leases, breakers, orders, registrations."""
