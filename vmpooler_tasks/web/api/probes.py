"""Probes for a service manager or load balancer."""

from fastapi import APIRouter
from pydantic import BaseModel

from vmpooler_tasks.web.api.responses import problems
from vmpooler_tasks.web.site import Here

router = APIRouter(tags=["probes"])


class Alive(BaseModel):
    status: str = "ok"


@router.get("/healthz", summary="This process lives")
def alive() -> Alive:
    """Check nothing else, and not Redis: restarting this process would not fix it."""
    return Alive()


@router.get("/readyz", summary="Redis answers", responses=problems(503))
def ready(site: Here) -> Alive:
    """Check Redis with a new round trip."""
    site.db.call("PING")
    return Alive()
