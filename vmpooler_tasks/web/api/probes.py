"""Probes of this process, for a supervisor or a load balancer."""

from fastapi import APIRouter
from pydantic import BaseModel

from vmpooler_tasks.web.api.responses import problems
from vmpooler_tasks.web.site import Here

router = APIRouter(tags=["probes"])


class ProbeResponse(BaseModel):
    status: str = "ok"


@router.get("/healthz", summary="This process is alive")
def alive() -> ProbeResponse:
    """Check nothing else, and not Redis: a restart of this process would not fix Redis."""
    return ProbeResponse()


@router.get("/readyz", summary="Redis replies", responses=problems(503))
def ready(site: Here) -> ProbeResponse:
    """Make one round trip to Redis for each request."""
    site.db.call("PING")
    return ProbeResponse()
