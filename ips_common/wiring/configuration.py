"""Settings and logging."""

import sys
from functools import cache

from ips_common import logs
from ips_common.config import Settings, settings
from ips_common.errors import ConfigError

_LOADED_AS = "main"
"""The name under which functions-framework runs a function's `main.py`, whichever function it is."""


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


def start(module: str) -> None:
    """Configure the process, or end it with one line that says what is wrong with the configuration.

    The last line of every `main.py`, with its `__name__`: an instance that cannot work does not come up, instead of
    failing at every request. Elsewhere a function is imported without being started.
    """
    if module != _LOADED_AS:
        return
    try:
        configure()
    except ConfigError as error:
        sys.stderr.write(f"the configuration is wrong: {error}\n")
        sys.exit(1)
