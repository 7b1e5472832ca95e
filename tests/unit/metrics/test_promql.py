"""The metrics of an expression are found, and nothing else."""

import pytest

from tests.support.promql import metrics


@pytest.mark.parametrize(
    ("expression", "named"),
    [
        ("up", {"up"}),
        ("vmpooler_health_status >= 2", {"vmpooler_health_status"}),
        ('a_total{pool=~"b.*", queue!="c()"} == 0 or absent(d)', {"a_total", "d"}),
        ("max without (instance, pod) (rate(a_total[5m] offset 1h))", {"a_total"}),
        ("sum by (a) (b) / on (c) group_left (d, e) f", {"b", "f"}),
        ("avg(a) by (b) unless ignoring(c) d", {"a", "d"}),
        ("increase(sum without (x) (a)[30m:]) > bool 1e3", {"a"}),
        ("3600 * topk(10, a) and vector(1) != inf", {"a"}),
        ('label_replace(a, "b", "$1", "c", "(.*)")', {"a"}),
        ("histogram_quantile(0.95, sum by (le) (increase(a_bucket[1h])))", {"a_bucket"}),
        ("time() - a", {"a"}),
        ('{pool="}"} + a', {"a"}),
        ("rate(a[$__rate_interval])", {"a"}),
    ],
)
def test_metrics_are_distinguished_from_labels_and_functions(expression: str, named: set[str]) -> None:
    assert metrics(expression) == named


def test_a_name_by_pattern_is_refused() -> None:
    with pytest.raises(ValueError, match="by pattern"):
        metrics('{__name__=~"vmpooler_.*"}')
