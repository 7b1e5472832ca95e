"""The configuration. Each process reads it once, where it creates its objects, and passes it on."""

from vmpooler_tasks.config.load import load_settings
from vmpooler_tasks.config.pools import Pool
from vmpooler_tasks.config.schema import HealthThresholds, Options, RedisSection, Settings

__all__ = ["HealthThresholds", "Options", "Pool", "RedisSection", "Settings", "load_settings"]
