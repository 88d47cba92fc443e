"""Expressions that the dashboards share."""

from typing import Final

from tools.dashboards.grafana import Variable

RATE: Final = "$__rate_interval"
"""The span of rates: Grafana makes it long enough for at least two scrapes."""

NAMESPACE: Final = Variable(
    name="namespace", label="Namespace", metric="holdfast_build_info", of="namespace"
)

HERE: Final = '{namespace=~"$namespace"}'


def selector(where: str = "") -> str:
    """Write the labels that select what is shown."""
    return HERE if not where else f"{HERE[:-1]}, {where}}}"


def sum_rate(metric: str, *, where: str = "", by: str = "") -> str:
    """Add up the rates of a counter."""
    grouping = f" by ({by}) " if by else ""
    return f"sum{grouping}(rate({metric}{selector(where)}[{RATE}]))"


def quantile(q: str, histogram: str, *, where: str = "", by: str = "") -> str:
    """Estimate a quantile over all processes."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({q}, {sum_rate(f'{histogram}_bucket', where=where, by=labels)})"


def per_process(expr: str) -> str:
    """Keep what is about our processes, and say which component each is."""
    build = f"holdfast_build_info{HERE}"
    return f"{expr} * on (namespace, job, instance) group_left (component) {build}"
