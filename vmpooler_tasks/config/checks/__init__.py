"""Problems that a configuration is refused for, and warnings about what is probably not meant."""
