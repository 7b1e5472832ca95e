"""For those who watch this process."""

from fastapi import APIRouter
from pydantic import BaseModel

from vmpooler_tasks.web.api.responses import problems
from vmpooler_tasks.web.site import Here

router = APIRouter(tags=["probes"])


class Alive(BaseModel):
    status: str = "ok"


@router.get("/healthz", summary="This process lives")
def alive() -> Alive:
    """Looks at nothing else, Redis least of all: a restart of this process would mend nothing there."""
    return Alive()


@router.get("/readyz", summary="Redis answers", responses=problems(503))
def ready(site: Here) -> Alive:
    """A fresh round trip each time."""
    site.db.call("PING")
    return Alive()
