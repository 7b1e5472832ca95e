"""Serve the files of the dashboard, and the runbooks that its reasons link to."""

import functools
import re
from importlib import resources
from pathlib import Path

from fastapi import APIRouter, FastAPI
from fastapi.responses import FileResponse, HTMLResponse
from fastapi.staticfiles import StaticFiles
from markdown_it import MarkdownIt
from mdit_py_plugins.anchors import anchors_plugin

router = APIRouter(include_in_schema=False)

PACKAGE = Path(str(resources.files("vmpooler_tasks.web")))
STATIC = PACKAGE / "static"
RUNBOOKS = PACKAGE / "runbooks.md"

_OTHER_DOCUMENT = re.compile(r"\[([^\]]+)\]\(([\w-]+\.md)(?:#[\w-]*)?\)")
"""A link to another document, which this server does not have."""

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
    return HTMLResponse(_render_runbooks())


@functools.cache
def _render_runbooks() -> str:
    """Return the page. The anchors of its headings are named as on GitHub, so that a link works in both places."""
    markdown = MarkdownIt("js-default", {"html": False}).use(anchors_plugin, min_level=2, max_level=3)
    source = _OTHER_DOCUMENT.sub(r"\1 (`docs/\2`)", RUNBOOKS.read_text(encoding="utf-8"))
    text = markdown.render(source)
    return _PAGE.format(text=text.replace("<pre>", '<pre tabindex="0">'))  # the keyboard can scroll long lines


def install(app: FastAPI) -> None:
    """Add the dashboard, its files and the runbooks to the application."""
    app.include_router(router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
