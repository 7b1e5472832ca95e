"""Health checks. docs/operator-guide.md: Health Checks."""
