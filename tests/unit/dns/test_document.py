"""docs/dns.md has each option with its default, and its examples are accepted."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from tests.support.processes import ROOT
from vmpooler_tasks.config import load_settings
from vmpooler_tasks.dns.rfc2136.options import Rfc2136Options
from vmpooler_tasks.dns.route53.options import Route53Options
from vmpooler_tasks.errors import ConfigurationError
from vmpooler_tasks.jobs.dns.plugins import entries_in_use, load_plugin

PAGE = (ROOT / "docs" / "dns.md").read_text(encoding="utf-8")


def section(heading: str) -> str:
    return PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def shown(default: Any) -> str:
    return "" if default is None or default is PydanticUndefined else f"`{default}`"


@pytest.mark.parametrize(("heading", "options"), [("rfc2136", Rfc2136Options), ("route53", Route53Options)])
def test_every_option_is_in_the_table(heading: str, options: type[BaseModel]) -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) ?\| .+ \|$", section(heading), re.MULTILINE))
    expected = {name: shown(field.default) for name, field in options.model_fields.items()}
    assert rows == {**expected, **({"zone": "`domain`"} if "zone" in expected else {})}


def example(heading: str) -> Mapping[str, Any]:
    [text] = re.findall(r"^```yaml\n(.*?)^```$", section(heading), re.MULTILINE | re.DOTALL)
    found: Mapping[str, Any] = yaml.safe_load(text)
    return found


def test_the_example_of_rfc2136_is_accepted(tmp_path: Path) -> None:
    key = tmp_path / "pooler.key"
    text = yaml.safe_dump({":providers": {"dummy": None}, **example("rfc2136")})
    settings = load_settings({"VMPOOLER_CONFIG": text.replace("/etc/vmpooler/pooler.key", str(key))})
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_plugin(settings, "inside")
    key.write_text('key "pooler" {\n\talgorithm hmac-sha256;\n\tsecret "c2VjcmV0";\n};\n', encoding="utf-8")
    assert entries_in_use(settings) == ["inside"]
    load_plugin(settings, "inside").close()


def test_the_example_of_route53_is_accepted() -> None:
    config = {":config": {"installation": "prod"}, ":pools": [{"name": "p", "dns_plugin": "cloud"}]}
    settings = load_settings({"VMPOOLER_CONFIG": yaml.safe_dump({**config, **example("route53")})})
    load_plugin(settings, "cloud").close()
