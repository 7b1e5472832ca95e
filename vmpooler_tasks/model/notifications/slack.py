"""A notification as a message for an incoming webhook of Slack, or of a server that accepts the same."""

from typing import Any
from urllib.parse import quote

from vmpooler_tasks.model.health.explanation import HealthReason, explain
from vmpooler_tasks.model.health.status import Status
from vmpooler_tasks.model.names import on_one_line
from vmpooler_tasks.model.notifications.message import Notification
from vmpooler_tasks.model.timestamps import iso_utc

MAX_SHOWN = 10
"""Slack takes 50 blocks."""

MAX_BLOCK_CHARACTERS = 2900
"""Slack takes 3,000 characters in a block, counted after escaping."""

MAX_HEADER_CHARACTERS = 140

_SIGNS = {Status.HEALTHY: ":large_green_circle:", Status.DEGRADED: ":warning:", Status.UNHEALTHY: ":red_circle:"}


def slack_message(notification: Notification) -> dict[str, Any]:
    """Return the message. Text from outside cannot mention a channel, link, or format anything."""
    shown = notification.reasons[:MAX_SHOWN]
    hidden = len(notification.reasons) - len(shown)
    blocks = [
        _section(f"{_SIGNS[notification.status]} *{escaped(_cut(notification.summary(), MAX_HEADER_CHARACTERS))}*"),
        *(_section(_reason_text(notification, reason)) for reason in shown),
    ]
    if hidden:
        blocks.append(_section(f"… and {hidden} more"))
    details = [f"since {iso_utc(notification.since)}", f"Redis at {escaped(on_one_line(notification.redis))}"]
    details += [_link(address, name) for name, address in notification.links().items()]
    details.append(f"id {escaped(notification.id)}")
    blocks.append({"type": "context", "elements": [_text(" · ".join(details))]})
    return {"text": escaped(on_one_line(notification.summary())), "blocks": blocks}


def escaped(text: str) -> str:
    """Return text in which Slack finds no mention, link or channel."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _reason_text(notification: Notification, reason: HealthReason) -> str:
    found, remedy = (_cut(text, MAX_BLOCK_CHARACTERS // 4) for text in explain(reason))
    runbook = notification.runbook(reason)
    link = f" ({_link(runbook, 'runbook')})" if runbook else ""
    return f"*{reason.severity}*: {escaped(found)}{link}\n→ {escaped(remedy)}"


def _cut(text: str, characters: int) -> str:
    line = on_one_line(text)
    return line if len(line) <= characters else f"{line[: characters - 1]}…"


def _link(address: str, name: str) -> str:
    return f"<{quote(address, safe=':/#?=&%@[]~+,;!$()*')}|{name}>"


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": _text(text)}


def _text(text: str) -> dict[str, Any]:
    """Return the text, in which Slack makes no links of its own from addresses and names (`verbatim`)."""
    return {"type": "mrkdwn", "verbatim": True, "text": text[: MAX_BLOCK_CHARACTERS + 100]}
