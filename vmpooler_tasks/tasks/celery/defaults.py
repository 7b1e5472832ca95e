"""Celery's settings as these tasks need them, each with its reason. A deployment tunes them in `celeryconfig.py`.

What depends on VMPooler's configuration (addresses, schedule) is added by `vmpooler_tasks.tasks.celery.configuration`.
"""

from kombu.entity import Exchange, Queue

from vmpooler_tasks.tasks import registry as _registry

# --- what runs where -------------------------------------------------------------------------------------------------
# Four queues, so that a machine can be given to clones alone; a worker takes all of them unless `-Q` names some.
task_queues = [Queue(name, Exchange("vmpooler"), routing_key=name) for name in _registry.QUEUES]
task_default_exchange = "vmpooler"
task_default_routing_key = task_default_queue = _registry.MAINTENANCE_QUEUE
task_routes = {task.name: {"queue": task.queue} for task in _registry.TASKS.values()}
# A task that is not routed would wait in a queue that nobody reads.
task_create_missing_queues = False
imports = ["vmpooler_tasks.tasks.maintenance", "vmpooler_tasks.tasks.pools", "vmpooler_tasks.tasks.redrive"]

# --- nothing is lost when a process or Redis goes away ---------------------------------------------------------------
# A message leaves Redis when its task has ended, not when it starts: a killed worker's task is delivered again.
task_acks_late = True
# Requeueing the task of a killed child has no limit: a task that kills its worker would loop for ever.
task_reject_on_worker_lost = False
# Would throw running tasks away on a Redis restart (observed: all of them).
worker_cancel_long_running_tasks_on_connection_loss = False
# A Redis that is down ends no process, at start or later: keep trying.
broker_connection_retry_on_startup = True
broker_connection_max_retries = None
# Nor is a Redis that refuses writes (too few replicas, a disk that is full).
broker_channel_error_retry = True
# Keeps a message that cannot be decoded as a dead letter (so does the transport, which replaces kombu's `redis`).
worker_consumer = "vmpooler_tasks.tasks.celery.consumer:Consumer"
broker_transport_options = {
    # Above the longest task: beyond it a running task would be delivered a second time.
    "visibility_timeout": 3600,
    # A frozen Redis has to fail a call, not hang it.
    "socket_timeout": 5,
    "socket_connect_timeout": 3,
    "socket_keepalive": True,
}

# --- how much at once ------------------------------------------------------------------------------------------------
# Tasks are long compared with fetching one: a worker takes no more than it works on and leaves the rest to others.
worker_prefetch_multiplier = 1
# Below the visibility timeout. The soft limit is an error that the task can still report.
task_soft_time_limit = 1800
task_time_limit = 1860

# --- messages and results --------------------------------------------------------------------------------------------
# JSON alone: a message must not be able to run code.
accept_content = ["json"]
task_serializer = "json"
result_serializer = "json"
# Nobody waits for the result of a tick, and storing one costs a round trip. An ad-hoc run requests its result itself.
task_ignore_result = True
result_expires = 86400
# Threads and gevent share one backend.
result_backend_thread_safe = True
# A publisher with Redis down gets its error in a second, not in twenty.
redis_socket_timeout = 5
redis_socket_connect_timeout = 3
redis_retry_on_timeout = False

# --- schedule --------------------------------------------------------------------------------------------------------
# When an entry last ran is kept in Redis: any number of beats may run, and none has state on a disk.
beat_scheduler = "vmpooler_tasks.tasks.celery.schedule:RedisScheduler"
# How soon a second beat notices that the first is gone.
beat_max_loop_interval = 5

# --- observation -----------------------------------------------------------------------------------------------------
# Flower needs events; they cost about a fifth of the throughput, which purge and health checks do not need.
worker_send_task_events = True
task_send_sent_event = True
# print() in a task is the author's business.
worker_redirect_stdouts = False
enable_utc = True
timezone = "UTC"
