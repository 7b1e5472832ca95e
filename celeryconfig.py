"""Where a deployment tunes Celery.

Everything has a default already: `vmpooler_tasks/tasks/celery/defaults.py` says each with its reason, and addresses and
schedule come from VMPooler's configuration. What is set below stands above that. With this file in the folder,
`celery worker`, `celery beat` and `celery flower` do the same as with `-A vmpooler_tasks`.
"""

from vmpooler_tasks.tasks.celery.configuration import deployment as _deployment

globals().update(_deployment())

# How many tasks a worker runs at once; the default is one for each core. Purge and health checks are few and never
# overlap themselves; clones (-Q vmpooler.clone, -P threads) wait for the provider and may be hundreds.
# worker_concurrency = 4  # noqa: ERA001 - for you to take the mark away

# A child that grew beyond this many KiB is replaced after its task. A purge of a million VMs needs about 200 MiB more.
worker_max_memory_per_child = 500_000

# On SIGTERM a worker lets its tasks finish, however long they take. Told to stop at once (SIGQUIT), it gives them this
# many seconds before it hands them back to Redis.
worker_soft_shutdown_timeout = 30

# The longest that any task may run, in seconds: half an hour, or a little more than the longest `timeout` of a pool.
# Keep them below the visibility timeout (see the defaults).
# task_soft_time_limit = 1800  # noqa: ERA001 - for you to take the mark away
# task_time_limit = 1860  # noqa: ERA001
