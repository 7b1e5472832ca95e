"""The only importer of Celery: the app, its schedule, its failure hooks, and the tasks, which are a few lines each."""
