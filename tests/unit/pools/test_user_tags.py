"""The tag of a user: VMPooler's rule for its characters, and which VMs still need it."""

import pytest

from vmpooler_tasks.model.pools.user_tags import due_user_tag, user_tag


@pytest.mark.parametrize(
    ("user", "tag"),
    [
        ("jane", "jane"),
        ("Jane.Doe@Example.com", "jane-doe-example-com"),
        ("DOMAIN\\jane_doe", "domain-jane_doe"),
        ("žofie", "-ofie"),
        ("a\nb", "a-b"),
        ("x" * 100, "x" * 63),
    ],
)
def test_the_user_is_written_as_vmpooler_does(user: str, tag: str) -> None:
    assert user_tag(user) == tag


@pytest.mark.parametrize(
    ("user", "tagged", "due"),
    [
        (b"jane", None, "jane"),
        (b"jane", b"", "jane"),
        (b"jane", b"true", None),
        (None, None, None),
        (b"", None, None),
        (b"\xff", None, "-xff"),
    ],
)
def test_a_vm_needs_the_tag_once_and_only_if_its_user_is_known(
    user: bytes | None, tagged: bytes | None, due: str | None
) -> None:
    assert due_user_tag({"token:user": user, "user_tagged": tagged}) == due
