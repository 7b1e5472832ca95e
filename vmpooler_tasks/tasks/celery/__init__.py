"""The Celery application: its settings, transport, consumer, schedule and failure hooks."""
