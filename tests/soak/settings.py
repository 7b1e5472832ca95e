"""What the environment decides about a soak: how long it lasts, and the seed of what is random."""

import os

SECONDS = float(os.environ.get("SOAK_HOURS") or 1 / 6) * 3600
"""Ten minutes, unless `make soak HOURS=…` says otherwise."""

SEED = int(os.environ.get("SOAK_SEED", "20240115"))

CHECKOUTS_PER_SECOND = 3.0
"""Users keep this rate from the first second to the last: what grows under it grows with time alone."""
