"""Settings and logging."""

from functools import cache

from ips_common import logs
from ips_common.config import Settings, settings


@cache
def configure() -> Settings:
    """Read the settings and set logging up.

    Raises:
        ConfigError: a variable is missing or wrong.
    """
    config = settings()
    logs.configure(
        level=config.log_level, log_format=config.log_format, project=config.project, function=config.function
    )
    return config
