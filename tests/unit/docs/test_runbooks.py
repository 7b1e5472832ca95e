"""Each reason has a section of its own in the runbooks, in one form, with commands that can be pasted."""

import re
from collections import Counter

import pytest

from tests.unit.docs.test_words import read
from vmpooler_tasks.model.health.reasons import REASONS

TEXT = read("docs/runbooks.md")
SECTIONS = {
    title: body
    for title, body in (part.split("\n", 1) for part in re.split(r"^### ", TEXT, flags=re.MULTILINE)[1:])
    if title in set(REASONS)
}


def paragraphs(body: str) -> list[str]:
    """Return the paragraphs of a section without its way back."""
    return [part.strip() for part in body.split("\n\n") if part.strip() and "[Contents]" not in part]


def test_each_reason_has_a_section() -> None:
    assert SECTIONS.keys() == {str(code) for code in REASONS}


@pytest.mark.parametrize("code", sorted(SECTIONS))
def test_a_section_says_what_it_means_what_to_check_how_to_fix_it_and_when_it_is_over(code: str) -> None:
    body = SECTIONS[code]
    steps = re.findall(r"^\*\*(Meaning\.|Check\.|Fix\.|Clears)\*\*", body, re.MULTILINE)
    assert steps == ["Meaning.", "Check.", "Fix.", "Clears"]
    assert body.split("## Alerts")[0].rstrip().endswith("[Contents](#contents)")


def test_no_two_sections_share_a_paragraph() -> None:
    counted = Counter(part for body in SECTIONS.values() for part in paragraphs(body) if part.startswith("**"))
    assert [part for part, count in counted.items() if count > 1] == []


def test_no_two_reasons_share_their_texts() -> None:
    for texts in ([kind.found for kind in REASONS.values()], [kind.remedy for kind in REASONS.values()]):
        assert [text for text, count in Counter(texts).items() if count > 1] == []


def test_commands_can_be_pasted() -> None:
    for block in re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL):
        for line in block.splitlines():
            assert not re.search(r"\|\|| true\b|2>|\.\.\.|…|<\w+>", line), line
            assert not re.search(
                r"(?<![$\w\"])\b(?!INFO|GET|HGET|HGETALL|HMGET|PING|TYPE|LLEN|TIME)[A-Z]{3,}\b", line
            ), line
