"""The tag that names the user of a running VM in its provider."""

import re

from vmpooler_tasks.model.names import readable
from vmpooler_tasks.model.pools.lifecycle import Fields

MAX_TAG_LENGTH = 63


def user_tag(user: str) -> str:
    """Return the user as a tag, as VMPooler writes it: lower case, other characters than `0-9a-z_-` as dashes.

    Source: `get_current_user` in `lib/vmpooler/providers/base.rb`. A hypervisor limits the length of tags.
    """
    return re.sub(r"[^0-9a-z_-]", "-", user.lower())[:MAX_TAG_LENGTH]


def due_user_tag(fields: Fields) -> str | None:
    """Return the tag that a running VM still has to get. None: it has one, or was checked out without a token."""
    user = fields["token:user"]
    return user_tag(readable(user)) if user and not fields["user_tagged"] else None
