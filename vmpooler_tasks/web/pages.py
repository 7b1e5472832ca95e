"""Serve the files of the dashboard, and the runbooks that its reasons link to."""

import functools
import re
from importlib import resources
from pathlib import Path

from fastapi import APIRouter, FastAPI
from fastapi.responses import FileResponse, HTMLResponse
from fastapi.staticfiles import StaticFiles
from markdown_it import MarkdownIt

router = APIRouter(include_in_schema=False)

PACKAGE = Path(str(resources.files("vmpooler_tasks.web")))
STATIC = PACKAGE / "static"
RUNBOOKS = PACKAGE / "runbooks.md"

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Runbooks: vmpooler-tasks</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="stylesheet" href="/static/app.css">
<link rel="icon" href="/static/favicon.svg"></head>
<body class="document"><main><p><a href="/">Dashboard</a></p>
{text}</main></body></html>
"""


@router.get("/")
def dashboard() -> FileResponse:
    return FileResponse(STATIC / "index.html", media_type="text/html")


@router.get("/runbooks")
def runbooks() -> HTMLResponse:
    """Return the runbooks, without a login: they are public documentation."""
    return HTMLResponse(_runbooks())


@functools.cache
def _runbooks() -> str:
    markdown = MarkdownIt("js-default", {"html": False})
    text = markdown.render(RUNBOOKS.read_text(encoding="utf-8"))
    text = text.replace("<pre>", '<pre tabindex="0">')  # so that the keyboard can scroll long lines
    return _PAGE.format(text=re.sub(r"<h([23])>(.*?)</h\1>", _with_anchor, text))


def _with_anchor(heading: re.Match[str]) -> str:
    """Return the heading with an anchor, named as on GitHub, so that a link works in both places."""
    plain = re.sub(r"<[^>]+>", "", heading[2]).lower()
    anchor = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
    return f'<h{heading[1]} id="{anchor}">{heading[2]}</h{heading[1]}>'


def install(app: FastAPI) -> None:
    app.include_router(router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
