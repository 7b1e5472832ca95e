"""The pool workers' jobs. docs/vmpooler-behaviour.md says what VMPooler's own manager does."""
