"""`python -m vmpooler_tasks.cli`, where the command is not on the path."""

from vmpooler_tasks.cli import main

main()
