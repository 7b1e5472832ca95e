"""Tune Celery here.

Every setting has a default already: `vmpooler_tasks/tasks/celery/defaults.py` lists them with their reasons, and
addresses and schedule come from VMPooler's configuration. The settings below override the defaults. With this file in
the folder, `celery worker`, `celery beat` and `celery flower` do the same as with `-A vmpooler_tasks`.
"""

from vmpooler_tasks.tasks.celery import configuration as _configuration

_configuration.prepare_process()
globals().update(_configuration.celery_settings())

# Number of tasks that a worker runs at once. The default is one for each core. Purge and health checks are few and do
# not overlap themselves. Clones (-Q vmpooler.clone, -P threads) wait for the provider, so there may be hundreds.
# worker_concurrency = 4  # noqa: ERA001 - uncomment it to change it

# A child process above this size (in KiB) is replaced after its task. A purge of a million VMs needs 200 MiB more.
worker_max_memory_per_child = 500_000

# On SIGTERM a worker waits until its tasks have finished, without a limit. On SIGQUIT it waits for this many seconds,
# and then returns them to Redis.
worker_soft_shutdown_timeout = 30

# Maximum run time of a task, in seconds: half an hour, or a little more than the longest `timeout` of a pool. Keep both
# below the visibility timeout (see the defaults).
# task_soft_time_limit = 1800  # noqa: ERA001 - uncomment it to change it
# task_time_limit = 1860  # noqa: ERA001
