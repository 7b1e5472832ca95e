"""Errors of the API: one form for all, described in the OpenAPI document, with the headers of every response."""

import logging
from typing import Any

import httpx
import pytest

from tests.support.servers import TestServer
from tests.support.web import OPERATOR, serving, web_section, web_settings
from vmpooler_tasks.store.fleet import audit

PROBLEM = "application/problem+json"
AUDIT = "/api/v1/queue/audit"


def assert_is_problem(response: httpx.Response, status: int) -> None:
    assert (response.status_code, response.headers["content-type"]) == (status, PROBLEM)
    assert response.json()["status"] == status
    assert response.headers["content-security-policy"].startswith("default-src 'none'")
    assert (response.headers["cache-control"], response.headers["x-frame-options"]) == ("no-store", "DENY")


def test_an_unexpected_error_has_the_security_headers_and_is_logged_once(
    web: httpx.Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError("what the client must not see")

    monkeypatch.setattr(audit, "search", fail)
    response = web.get(AUDIT)
    assert_is_problem(response, 500)
    assert response.json()["detail"] == "internal server error; the log has the details"
    [logged] = [record for record in caplog.records if record.exc_info]
    assert logged.getMessage() == f"[!] [web] GET {AUDIT} failed"
    assert logged.levelno == logging.ERROR


def test_an_error_in_a_response_that_has_started_is_logged_once(
    web: httpx.Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def lines(*_: Any) -> Any:
        yield "first\n"
        raise ZeroDivisionError

    monkeypatch.setattr("vmpooler_tasks.web.api.deadletters.LINES", {"jsonl": lines})
    with pytest.raises(httpx.RemoteProtocolError):
        web.get("/api/v1/queue/dlq/export")
    assert len([record for record in caplog.records if record.exc_info]) == 1


def test_another_host_name_is_a_problem(valkey: TestServer) -> None:
    section = web_section(hosts=("vmpooler.example.com",))
    with serving(valkey.url, web_settings(valkey.url, section)) as address:
        response = httpx.get(f"{address}/health", auth=OPERATOR)
        assert_is_problem(response, 400)
        assert "Host" in response.json()["detail"]


def test_a_body_that_is_too_large_is_a_problem(web: httpx.Client) -> None:
    assert_is_problem(web.post("/api/v1/queue/dlq/delete", content=b" " * 2_000_000), 413)


def test_a_range_is_ignored_whatever_its_unit(web: httpx.Client) -> None:
    odd = ("bytes=0-3", "bytes=9999999-", "bytes=a-b", "items=0-5", "", "bytes=0-0,2-2,4-4", "bytes=5-1", "\xe9=1")
    for path in ("/", "/static/app.css", "/runbooks", AUDIT):
        whole = web.get(path)
        for wanted in odd:
            headers = {b"Range": wanted.encode("latin-1"), b"If-Range": whole.headers.get("etag", "x").encode()}
            response = web.get(path, headers=headers)
            assert (response.status_code, response.content) == (200, whole.content), (path, wanted)
            assert response.headers.get("accept-ranges", "none") == "none"


def operations(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{method.upper()} {path}", operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def test_the_openapi_document_describes_every_error_as_a_problem(web: httpx.Client) -> None:
    document = web.get("/openapi.json").json()
    odd = [
        (name, status, list(response.get("content", {})))
        for name, operation in operations(document)
        for status, response in operation["responses"].items()
        if int(status) >= 400 and PROBLEM not in response.get("content", {})
    ]
    assert odd == []
    everywhere = {"400", "413", "500"}
    assert [name for name, operation in operations(document) if not everywhere <= set(operation["responses"])] == []
    assert "HTTPValidationError" not in document["components"]["schemas"]
