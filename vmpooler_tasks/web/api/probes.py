"""What other programs watch: probes of this process for a supervisor or a load balancer, and metrics for Prometheus."""

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Response
from pydantic import BaseModel

from vmpooler_tasks.metrics.prometheus import CONTENT_TYPE
from vmpooler_tasks.web.api.responses import READING, problems
from vmpooler_tasks.web.permissions import Reader
from vmpooler_tasks.web.site import Here

router = APIRouter(tags=["probes"])

_threads = CapacityLimiter(4)
"""Not the threads of other requests, which may all be busy."""


class ProbeResponse(BaseModel):
    status: str = "ok"


@router.get("/healthz", summary="This process is alive")
async def alive() -> ProbeResponse:
    """Check nothing else, and not Redis: a restart of this process would not fix Redis.

    It runs on the event loop, so that no other request delays it.
    """
    return ProbeResponse()


@router.get("/readyz", summary="Redis replies", responses=problems(503))
async def ready(site: Here) -> ProbeResponse:
    """Make one round trip to Redis for each request, in a thread of the probes' own."""
    await to_thread.run_sync(site.db.call, "PING", limiter=_threads)
    return ProbeResponse()


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses={**READING, 200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(site: Here, _: Reader) -> Response:
    """Read from Redis, at most once a second. Without Redis: `vmpooler_redis_up 0`, and an unhealthy status."""
    return Response(await site.metrics.read(), media_type=CONTENT_TYPE)
