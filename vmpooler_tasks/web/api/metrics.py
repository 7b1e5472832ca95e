"""The metrics for Prometheus."""

from fastapi import APIRouter, Response

from vmpooler_tasks.metrics.prometheus import CONTENT_TYPE, exposition
from vmpooler_tasks.web.api.responses import READING
from vmpooler_tasks.web.permissions import Reader
from vmpooler_tasks.web.site import Here

router = APIRouter(tags=["probes"])


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses={**READING, 200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def metrics(site: Here, _: Reader) -> Response:
    """Read from Redis at each scrape. Without Redis: `vmpooler_redis_up 0`, and an unhealthy status."""
    return Response(exposition(site.db, site.settings, site.clock, site.broker), media_type=CONTENT_TYPE)
