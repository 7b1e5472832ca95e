"""Serve the files of the dashboard, the runbooks that its reasons link to, and the operator guide."""

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

_TITLES = {"runbooks": "Runbooks", "operator-guide": "Operator guide"}
"""The documents of `docs/` that this server has, by the name of the file and of the path."""

_LINK_TO_DOCUMENT = re.compile(r"\[([^\]]+)\]\(([\w-]+)\.md(#[\w-]*)?\)")

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}: vmpooler-tasks</title>
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
    return HTMLResponse(_render("runbooks"))


@router.get("/operator-guide")
def operator_guide() -> HTMLResponse:
    """Return the operator guide, without a login like the runbooks."""
    return HTMLResponse(_render("operator-guide"))


@functools.cache
def _render(name: str) -> str:
    """Return a document as a page. The anchors of its headings are named as on GitHub: links work in both places."""
    markdown = MarkdownIt("js-default", {"html": False}).use(anchors_plugin, min_level=2, max_level=3)
    source = _LINK_TO_DOCUMENT.sub(_here, (PACKAGE / f"{name}.md").read_text(encoding="utf-8"))
    text = markdown.render(source)
    text = text.replace("<pre>", '<pre tabindex="0">')  # the keyboard can scroll long lines
    return _PAGE.format(title=_TITLES[name], text=text)


def _here(link: re.Match[str]) -> str:
    """Return a link between two documents as a link on this server, or as the name of one that it does not have."""
    text, name, anchor = link.groups(default="")
    return f"[{text}](/{name}{anchor})" if name in _TITLES else f"{text} (`docs/{name}.md`)"


def install(app: FastAPI) -> None:
    """Add the dashboard, its files and the documents to the application."""
    app.include_router(router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
