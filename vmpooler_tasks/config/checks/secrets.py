"""The options whose values no message shows."""

SECRET_WORDS = ("password", "secret", "token", "users", "url", "targets")


def is_secret(path: str) -> bool:
    """Return whether the value at this path of the configuration may be a secret."""
    return any(word in path.lower() for word in SECRET_WORDS)
