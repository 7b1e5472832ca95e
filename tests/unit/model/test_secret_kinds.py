"""Every kind of secret, with its name, its form, or its format, is removed from text and arguments."""

import json
from typing import Any

import pytest

from vmpooler_tasks.model.redaction import REDACTED, redacted, redacted_text
from vmpooler_tasks.model.secret_patterns import HINTS, ascii_lower, is_secret_name

SECRET = "hunter2"

NAMES = (
    *(
        "password",
        "passwd",
        "vcenter_password",
        "htpasswd",
        "pwd",
        "Pwd",
        "userPwd",
        "mysqlpwd",
        "pass",
        "dbPass",
        "pass2",
    ),
    *("requirepass", "masterauth", "passphrase", "passcode", "passkey", "rootpw", "pw", "secret", "client_secret"),
    *("token", "authToken", "X-CSRF-Token", "csrf", "XSRF-COOKIE", "cookie", "Set-Cookie", "session_id", "sessionId"),
    *("JSESSIONID", "PHPSESSID", "vmware-api-session-id", "vmware_soap_session", "session-key", "x-auth", "X-Auth-Key"),
    *("auth", "basic_auth", "FLOWER_BASIC_AUTH", "authorization", "Proxy-Authorization", "credentials", "jwt", "otp"),
    *("api_key", "apikey", "X-Api-Key", "private_key", "access key", "AccountKey", "SharedAccessKey", "ssh_key"),
    *("aws_access_key_id", "aws_secret_access_key", "aws_session_token", "signing_key", "sig", "signature"),
    *("connection_string", "ConnectionString", "connStr", "WEB_USERS"),
)

NO_NAMES = (
    *("vm", "pool", "key", "keys", "primary_key", "monkey", "bypass", "compass", "surpass", "pass_through", "passed"),
    *("passenger", "author", "authority", "signal", "design", "assignment", "session_seconds", "pwm", "stop", "topic"),
    *("template", "status", "description"),
)


@pytest.mark.parametrize("name", NAMES)
def test_value_of_such_a_name_is_removed(name: str) -> None:
    assert is_secret_name(name)
    assert any(hint in ascii_lower(name) for hint in HINTS)
    assert redacted({name: SECRET, "vm": "a"}) == {redacted_text(name): REDACTED, "vm": "a"}
    for text in (f"{name}={SECRET}", f'{{"{name}": "a {SECRET}"}}', f"{name}: {SECRET}"):
        assert SECRET not in redacted_text(text), text


@pytest.mark.parametrize("name", NO_NAMES)
def test_value_of_another_name_stays(name: str) -> None:
    assert redacted({name: "x"}) == {name: "x"}
    assert redacted_text(f"{name}=x, {name}: y") == f"{name}=x, {name}: y"


FORMS = {
    "ruby": f':password => "a {SECRET}"',
    "form": f"user[password]={SECRET}",
    "bytes": f"password=b'a {SECRET}'",
    "object": f"credentials=Login(user='a', value='{SECRET}')",
    "odbc": f"Server=db;Uid=sa;Pwd={SECRET};Database=x",
    "odbc in braces": f"Driver=x;Pwd={{a;{SECRET}}};Database=x",
    "encoded": f"https://host/?next=%2Flogin%3Fpassword%3D{SECRET}",
    "azure": f"AccountName=x;AccountKey={SECRET}/+==;EndpointSuffix=y",
    "block": f"password: |\n  a\n\n  {SECRET}\nvm: a",
    "next line": f"password:\n  {SECRET}",
    "option": f"run --password {SECRET} --vm a",
    "option in a list": f"['run', '--password', '{SECRET}', 'a']",
    "curl": f"curl -u me:{SECRET} https://host",
    "variable": f"VMPOOLER_WEB_LOGIN=operator:{SECRET}",
    "sql": f"ALTER ROLE x PASSWORD 'a {SECRET}'",
    "prose": f"the password is '{SECRET}'",
    "xml": f"<password>a {SECRET}</password>",
    "xml with a prefix": f'<ns:vcPassword xsi:type="xsd:string">{SECRET}</ns:vcPassword>',
    "xml cdata": f"<password><![CDATA[<{SECRET}>]]></password>",
    "cookies": f"Cookie: a=1; b={SECRET}; c=3\r\nHost: x",
    "set-cookie": f"Set-Cookie: id={SECRET}; Path=/; Secure",
    "digest": f'Authorization: Digest username="a", realm="b", response="{SECRET}"',
    "aws header": f"Authorization: AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature={SECRET}",
    "signed address": f"https://x.blob/y?sv=1&sig={SECRET}&se=2",
    "key of an address": f"https://maps/api?v=1&key={SECRET}",
    "amazon's address": f"https://b.s3/o?X-Amz-Credential={SECRET}%2Feu&X-Amz-Signature={SECRET}",
    "address in html": f'<a href="https://h/p?a=1&amp;key={SECRET}">',
    "json in json": json.dumps({"a": json.dumps({"b": json.dumps({"pass": f"x {SECRET}"})})}),
    "pem": f"-----BEGIN OPENSSH PRIVATE KEY-----\n{SECRET}\n-----END OPENSSH PRIVATE KEY-----",
    "pem on one line": f"-----BEGIN RSA PRIVATE KEY-----\\n{SECRET}\\n-----END RSA PRIVATE KEY-----",
    "pgp": f"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n{SECRET}\n-----END PGP PRIVATE KEY BLOCK-----",
}


@pytest.mark.parametrize("form", FORMS)
def test_secret_is_removed_in_every_form(form: str) -> None:
    once = redacted_text(FORMS[form])
    assert SECRET not in once
    assert REDACTED in once
    assert redacted_text(once) == once
    assert SECRET not in repr(redacted({"message": [FORMS[form]]}))


FORMATS = (
    *("AKIA" + "IOSFODNN7EXAMPLE", "ghp_" + "a1" * 18, "github_pat_" + "a1" * 20, "glpat-" + "a" * 20),
    *("xoxb-" + "1234567890-abc", "sk_live_" + "a1" * 12, "AIza" + "a" * 35, "hvs." + "a" * 24, "npm_" + "a" * 36),
    *("sk-proj-" + "aB3" * 12, "sk-" + "0a" * 16, "sk-or-v1-" + "0a" * 32, "xapp-" + "1-A0B1C2D3E4-5"),
    *("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA"),
    *("$6$salt$" + "h" * 43, "$2b$12$" + "h" * 53, "SG." + "a" * 22 + "." + "b" * 43),
)


@pytest.mark.parametrize("secret", FORMATS)
def test_well_known_format_is_removed_without_a_name(secret: str) -> None:
    assert redacted([f"called with {secret} in it", {"x": secret}]) == [
        f"called with {REDACTED} in it",
        {"x": REDACTED},
    ]


@pytest.mark.parametrize(
    "value",
    [
        ["run", "--password", SECRET],
        ["--api-key", SECRET, "x"],
        [("Authorization", SECRET)],
        [["Cookie", SECRET]],
        {"env": [{"name": "API_TOKEN", "value": SECRET}]},
        {"key": "db_pass", "value": SECRET},
        {"pools": ["--password", SECRET]},
        [("Authorization", SECRET.encode())],
        {"payload": f'{{"p\\u0061ssword": "{SECRET}"}}'},
        {"payload": [json.dumps({"x": [{"pwd": SECRET}]})]},
    ],
)
def test_secret_is_removed_where_another_value_is_its_name(value: Any) -> None:
    found = repr(redacted(value))
    assert SECRET not in found
    assert REDACTED in found


@pytest.mark.parametrize(
    "text",
    [
        "KeyError: 'password'",
        "key 'x' not found",
        "the password is missing",
        "token expired, authentication failed",
        "clone of pooler-a in pool task-sk-1 passed: key=3",
        "sk-production-windows-2019-x86",
        "xapp-production-windows-2019",
        "Sent --vm a to https://host/path?page=2&sort=key",
        "hash $1 and $2 of <key>value</key>",
        "PASS: 3, FAIL: 1",
        "first pass=2 of 12",
        "tokens: 12",
        "auth: failed",
        "password: missing, token: expired.",
    ],
)
def test_text_without_a_secret_stays(text: str) -> None:
    assert redacted_text(text) == text
    assert redacted([text]) == [text]


@pytest.mark.parametrize(
    "text",
    [
        "PASS: 123",
        'the answer was {"password": "12"}',
        "password: missing.link",
        "token=none-of-it",
        "auth: failed!",
        "pin_token: 12a",
        "password='denied'",
    ],
)
def test_value_that_only_starts_like_prose_is_removed(text: str) -> None:
    assert REDACTED in redacted_text(text)


@pytest.mark.parametrize("line", ["Cookie: 12; sid={}", "Set-Cookie: none; s={}", "Authorization: unknown {}"])
def test_a_header_is_no_prose(line: str) -> None:
    assert SECRET not in redacted_text(line.format(SECRET))
