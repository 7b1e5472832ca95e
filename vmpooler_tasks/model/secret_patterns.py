"""The patterns of secrets: their names, how a value follows a name, and the formats that need no name.

The kinds follow the rules of detect-secrets and gitleaks. Each pattern takes time in proportion to the text, whatever
the text is: what repeats is possessive or has a bound, and a pattern without a bound starts only where a word does.
"""

import re

_KINDS_OF_KEYS = (
    *("api", "private", "access", "account", "auth", "shared", "sign", "signing", "signature", "encryption", "crypto"),
    *("master", "license", "ssh", "client", "storage", "service", "subscription", "deploy", "webhook", "host"),
    *("hmac", "aes", "rsa", "gpg", "pgp"),
)
_WITHIN_NAMES = (
    *("passw", "passphrase", "passcode", "pwd", "secret", "token", "credential", "authorization", "cookie", "jwt"),
    *(r"session[-_ ]?id", r"session[-_ ]?key", r"sess[-_]?id", r"soap[-_]session", r"x[-_]auth", "csrf", "xsrf"),
    *(r"connection[-_ ]?string", r"conn[-_]?str", "web_users"),
    *(rf"{kind}[-_. ]?key" for kind in _KINDS_OF_KEYS),
)
"""A name with one of these in it names a secret: `vcenter_password`, `aws_access_key_id`, `X-Auth-Token`."""

_ENDS_OF_NAMES = (
    *(r"p(?<!byp)(?<!comp)(?<!tresp)(?<!surp)(?<!overp)(?<!underp)ass", "auth"),
    *(r"r(?<![a-z].)ootpw", r"u(?<![a-z].)serpw", r"b(?<![a-z].)indpw", r"a(?<![a-z].)dminpw", r"p(?<![a-z].)w"),
    *(r"s(?<![a-z].)ig", r"s(?<![a-z].)ignature", r"t(?<![a-z].)otp", r"o(?<![a-z].)tp", r"p(?<![a-z].)asskey"),
)
"""A name that ends with one of these names a secret: `pass`, `dbPass`, `basic_auth`; not `bypass`, `pass_through`.

Each starts with a plain character, and what may not stand before it comes second: a search then skips other characters
quickly.
"""

NAME = re.compile("|".join((*_WITHIN_NAMES, *(rf"{end}\d{{0,2}}(?![a-z_-])" for end in _ENDS_OF_NAMES))))
"""A secret's name in lowercase text (`ascii_lower`). More of the name may follow."""

HINTS = (
    *("pass", "pw", "secret", "token", "credential", "auth", "cookie", "jwt", "sess", "srf", "web_users", "key"),
    *("conn", "sig", "otp"),
)
"""Each name has one of these in it. Finding a plain text takes a hundredth of the time of a pattern."""

_LOWER = {capital: capital + 32 for capital in range(ord("A"), ord("Z") + 1)}


def ascii_lower(text: str) -> str:
    """Return the text in lowercase, as far as it is ASCII: each character stays where it is."""
    return text.translate(_LOWER)


def is_secret_name(name: str) -> bool:
    """Return whether a value of this name may be a secret."""
    return NAME.search(ascii_lower(name)) is not None


# --- how a value follows its name ------------------------------------------------------------------------------------
# A value in quotes ends with the same quote, and one without an end is the rest of the text. In JSON within JSON, the
# quote has backslashes before it, and a quote within the value has more of them.
QUOTED = (
    r"'(?:[^'\\]++|\\.)*+(?:'|\\?\Z)"
    r"|\"(?:[^\"\\]++|\\.)*+(?:\"|\\?\Z)"
    r"|(?<!\\)(?P<quote>\\++['\"]).*?(?:(?<!\\)(?P=quote)|\Z)"
)

ASSIGNMENT = re.compile(
    r"(?P<tail>[\w.-]{0,60}+\]?+)(?P<words>[^'\"\\\n:=<>%&,;(){}\[\]]{0,60}+)(?P<closing>\\*+['\"])?+\s*+"
    r"(?P<sign>[=:]{1,3}+>?+|%3[aAdD])\s*+(?!\[redacted\])",
)
"""What stands between a secret's name and its value: `_1": `, ` = `, `=>`. `words` is only part of a quoted name."""

QUOTED_VALUE = re.compile(rf"(?:(?i:[bruf]|br|rb)(?=['\"]))?(?:{QUOTED})", re.DOTALL)
NESTED_VALUE = re.compile(r"[\w.]{0,100}+(?=[\[{(])")
"""What stands before the brackets of a value with parts, such as the class of an object."""

PART = re.compile(rf"{QUOTED}|[\[{{(\]}})]", re.DOTALL)
BLOCK_VALUE = re.compile(r"[|>][-+0-9]{0,3}[ \t]*+(?:\r?\n(?:[ \t]++[^\n]*+|(?=\r?\n)))++")
"""YAML's text of several lines."""

HEADER_NAME = re.compile(r"(?:authorization|cookie|x-auth)\Z")
HEADER_VALUE = re.compile(r"(?:[^\r\n'\"\\]++|(?<==)\\*+\"[^\"\r\n]*+\"?+)++")
"""The value of a header: the rest of the line. Its parameters may have quotes."""

PLAIN_VALUE = re.compile(
    r"(?:(?:Bearer|Basic|Digest|Token|ApiKey|Negotiate|NTLM|OAuth)\s++)?[^\s,;)}\]]++", re.IGNORECASE
)

PROSE_VALUE = re.compile(
    r"(?:\d{1,2}(?=[\s,;)\]]|\Z)"
    r"|(?:denied|expired|failed|failure|false|invalid|missing|none|null|refused|rejected|required|true|unauthorized"
    r"|unknown)(?=[.,;)\]]?(?:\s|\Z)))",
    re.IGNORECASE,
)
"""What a sentence says of a name: `PASS: 3`, `tokens: 12`, `auth: failed`. So short a number is no secret."""

OPTION_START = re.compile(r"(?:^|[\s'\"\[(,=])--?[\w-]{0,40}\Z")
OPTION_VALUE = re.compile(r"[\w-]{0,60}+(?P<gap>['\"]?,?\s++)(?![-\s])(?!\[redacted\])")
"""What stands between an option of a command line and its value, also in a list of arguments."""

ELEMENT_START = re.compile(r"<[\w:.-]{0,60}\Z")
ELEMENT_VALUE = re.compile(
    r"[\w.-]{0,60}+(?:\s[^<>]{0,300}+)?+(?<!/)>(?!\[redacted\])(?P<value><!\[CDATA\[.*?(?:\]\]>|\Z)|[^<]++)", re.DOTALL
)

SAID_VALUE = re.compile(r"[\w-]{0,60}+ (?:is |was )?(?=\\*['\"])(?!.\[redacted\])")
"""Prose and SQL: `password 'x'`."""
SAID_NAMES = ("passw", "passphrase", "pwd")

# --- formats that need no name ---------------------------------------------------------------------------------------
KEY_FILE = re.compile(
    r"-----BEGIN (?P<kind>[A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?)-----.*?(?:-----END (?P=kind)-----|\Z)", re.DOTALL
)

URL_SECRET = re.compile(
    r"(?P<name>[?&;](?:amp;)?(?:[\w.-]{0,40}[-_.])?"
    r"(?:key|sig|sign|signature|hmac|credential|token|sid|code|ticket|auth)(?:=|%3D))(?!\[redacted\])[^&\s'\"<>#\\]++",
    re.IGNORECASE,
)
"""A parameter of an address that stands for a login, as in signed addresses."""

LOGIN_ARGUMENT = re.compile(
    r"(?P<name>(?:(?<![\w-])(?:-u|--user|--proxy-user)['\",]{0,3}|_(?:LOGIN|AUTH))[ =]{1,3}['\"]?[^\s:'\"=]{1,100}:)"
    r"(?!//)[^\s'\"]++"
)
"""`curl -u user:password`, `VMPOOLER_WEB_LOGIN=user:password`."""

WELL_KNOWN = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"(?:A3T[A-Z0-9]|AKIA|AGPA|AIDA|AROA|AIPA|ANPA|ANVA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Za-z0-9])"  # AWS
    r"|gh[pousr]_[A-Za-z0-9]{20,}+|github_pat_\w{20,}+"
    r"|gl(?:pat|oas|rt|cbt|ptt|dt|ft|soat|imt|agent)-[\w-]{20,}+"
    r"|xox[abeoprs]-[\w-]{10,}+|xapp-\d-[\w-]{10,}+"  # Slack
    r"|[rs]k_(?:live|test|prod)_\w{10,}+"
    # With a capital and a digit, or hexadecimal: names of pools may start with `sk-`.
    r"|sk-(?=[\w-]{0,80}[A-Z])(?=[\w-]{0,80}\d)[\w-]{20,}+|sk-(?:or-v1-)?[0-9a-f]{32,}+"
    r"|AIza[\w-]{35}|ya29\.[\w-]{20,}+|GOCSPX-[\w-]{20,}+"  # Google
    r"|eyJ[\w-]{8,}+\.eyJ[\w-]{8,}+(?:\.[\w-]*+)?"  # a JSON web token
    r"|npm_[A-Za-z0-9]{30,}+|pypi-[\w-]{50,}+|hv[sbr]\.[\w-]{20,}+|SG\.[\w-]{16,}+\.[\w-]{16,}+"
    r"|do[opr]_v1_[0-9a-f]{40,}+|dckr_pat_[\w-]{20,}+|hf_[A-Za-z0-9]{30,}+"
    r")"
    r"|(?<=hooks\.slack\.com/services/)[\w/-]++"
    r"|\$(?:argon2(?:id|i|d)|2[abxy]|[156y]|scrypt|pbkdf2[\w-]{0,20})\$[\w./+=,$-]{8,}+"  # hashes of passwords
)
