"""What is true without Redis or Celery: pure functions and frozen values, no clock, no I/O."""
