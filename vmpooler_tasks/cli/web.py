"""`vmpooler-tasks web`"""

from typing import TYPE_CHECKING

import click

from vmpooler_tasks.cli.shared.context import Context, pass_context
from vmpooler_tasks.cli.shared.lazy import LazyModule

if TYPE_CHECKING:
    from vmpooler_tasks.web import server
else:
    server = LazyModule("vmpooler_tasks.web.server")  # a web server takes a second to import


@click.command(
    short_help="Serve the dashboard, the API and Prometheus metrics.", epilog="Example: vmpooler-tasks web --port 8080"
)
@click.option(
    "--host", metavar="H", help="Listen on H instead of `:web: host`. Any address but loopback needs credentials."
)
@click.option("--port", type=click.IntRange(1, 65535), metavar="N", help="Instead of `:web: port` (8080).")
@pass_context
def web(context: Context, host: str | None, port: int | None) -> None:
    """Serve the dashboard, the API and Prometheus metrics until the process is stopped.

    The :web: section, or WEB_USERS and WEB_TOKENS, say who may log in.
    """
    chosen = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    context.log_always()
    settings = context.settings
    server.serve(settings.model_copy(update={"web": settings.web.model_copy(update=chosen)}))
