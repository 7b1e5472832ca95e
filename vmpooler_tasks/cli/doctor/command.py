"""`vmpooler-tasks doctor`"""

import os
import sys
from itertools import chain

import click

from vmpooler_tasks.cli.doctor.diagnosis import diagnose
from vmpooler_tasks.cli.doctor.findings import REDIS
from vmpooler_tasks.cli.doctor.servers import send_tests
from vmpooler_tasks.cli.shared import options
from vmpooler_tasks.cli.shared.context import Context, pass_context
from vmpooler_tasks.cli.shared.output import STATUS_COLOURS, print_json, print_line
from vmpooler_tasks.jobs.health.server import FindingState

HANG = 23
"""Where the text of a finding starts."""


@click.command(
    short_help="Check everything that these workers depend on.",
    epilog="Example: vmpooler-tasks doctor",
)
@click.option("--notify", is_flag=True, help="Also send a test to each target of notifications.")
@options.as_json
@pass_context
def doctor(context: Context, notify: bool, as_json: bool) -> None:
    """Check everything that these workers depend on: one line each, with what to do.

    Exit status: 0, 1 if a check failed, 69 if Redis does not reply.
    """
    findings = []
    tests = send_tests(context.settings, context.db) if notify else ()
    for finding in chain(diagnose(context.settings, context.db), tests):
        findings.append(finding)
        if not as_json:
            line = f"{finding.state:<5} {finding.what + ':':<16} {finding.found}"
            print_line(line, STATUS_COLOURS[finding.state], hang=HANG)
            if finding.remedy:
                print_line(f"{'':<{HANG}}→ {finding.remedy}", hang=HANG + 2)
    if as_json:
        print_json([finding.as_json() for finding in findings])
    failed = {finding.what for finding in findings if finding.state is FindingState.FAIL}
    sys.exit(os.EX_UNAVAILABLE if REDIS in failed else bool(failed))
