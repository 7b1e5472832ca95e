"""`vmpooler-tasks web`"""

import click

from vmpooler_tasks.cli.context import Context, pass_context


@click.command(
    short_help="The dashboard, the API and Prometheus' metrics.", epilog="Example: vmpooler-tasks web --port 8080"
)
@click.option(
    "--host", metavar="H", help="Listen there instead of on `:web: host`; any but loopback needs credentials."
)
@click.option("--port", type=click.IntRange(1, 65535), metavar="N", help="Instead of `:web: port` (8080).")
@pass_context
def web(context: Context, host: str | None, port: int | None) -> None:
    """The dashboard, the API and Prometheus' metrics, until it is told to stop.

    Who may log in stands in the :web: section, or in WEB_USERS and WEB_TOKENS.
    """
    from vmpooler_tasks.web.server import serve  # noqa: PLC0415 - a web server takes a second to import

    chosen = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    context.log_always()
    settings = context.settings
    serve(settings.model_copy(update={"web": settings.web.model_copy(update=chosen)}))
