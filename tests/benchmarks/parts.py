"""The parts of the benchmark: how each is called, what its table shows, and its plots."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plot:
    """Lines over the rows with a place on the horizontal axis: one for each thing that was measured, and server."""

    file: str
    title: str
    measure: str
    horizontal: str
    is_logarithmic: bool = False
    """Whether the vertical axis is in powers of ten, too."""


@dataclass(frozen=True, slots=True)
class Part:
    title: str
    note: str
    plots: tuple[Plot, ...] = ()
    document: str = "performance"
    """The name of the document in docs/."""

    is_measured_once: bool = False
    """Whether it is measured in one round, whatever `--runs` says."""


PARTS = {
    "cycles": Part(
        "Cycles",
        "Medians; x floor, against the floor of the same round; memory is the maximum of any run.",
        (Plot("cycles", "A cycle against the floor", "x floor", "VMs"),),
    ),
    "pings": Part(
        "Other clients during a cycle",
        "Another client's PING, one each millisecond.",
        (Plot("pings", "Another client's PING during a cycle, 99 %, in milliseconds", "99 %", "VMs"),),
    ),
    "dead letters": Part("Dead letters", "A failed task on its way into its dead-letter queue, and lists of them."),
    "scrape": Part(
        "Metrics",
        "The text for Prometheus; x bare, against a bare pipeline of the same commands.",
        (Plot("scrapes", "The text for Prometheus against a bare pipeline", "x bare", "pools"),),
    ),
    "redaction": Part(
        "Redaction",
        "All kinds of text in one size; x half, against the same with half the size.",
    ),
    "clones": Part("Clones", "Messages through the whole path, beside as many no-op tasks of bare Celery."),
    "long clones": Part("Clones that take longer", "What waits for the provider, waits at the same time."),
    "providers": Part(
        "Providers", "On simulators of their APIs: the calls of one VM, a large inventory, many at once."
    ),
    "scale": Part(
        "Jobs of an installation",
        "One job in a new process at a time; commands, and the server's CPU time, are those of the server meanwhile.",
        (
            Plot("jobs", "A job, in milliseconds", "ms", "pools of 100 VMs", is_logarithmic=True),
            Plot("server", "CPU time of the server for it, in milliseconds", "server's ms", "pools of 100 VMs", True),
        ),
        document="scaling",
        is_measured_once=True,
    ),
    "messages": Part(
        "Messages",
        "Workers of one process each; what they share is the server and the cores of this machine.",
        (Plot("messages", "Messages a second", "done", "workers"),),
        document="scaling",
        is_measured_once=True,
    ),
}
"""In the order of the documents."""
