"""kombu's Redis transport, made safe: it checks messages, takes them in one step, and returns those of dead workers."""
