"""Texts in which a search for secrets may take long: each repeats what a pattern starts, continues or ends with."""

_NAMES = ("a", "token", "token ", "token=", "token:" + " " * 60, "token-", "token" + "x" * 60, "tokentoken=\\\\")
_LOGINS = ("://", "x://y ", "://a:b", "'://x@", "x://u:p@h ", "x://@")
_QUOTES = (
    *("token='", 'token="', 'token=\\"', "token=\"'", "password=\\'", "secret: \\", '\\\\"token=\\\\"'),
    *("\\", "'", "\\\n"),
)
_SCHEMES = ("Bearer ", "Basic a", "Bearer\n", "authorization: Token ")
_KEYS = ("-----BEGIN PRIVATE KEY-----", "-----BEGIN ", "-----BEGIN A PRIVATE KEY-----x-----END B PRIVATE KEY-----")

REPEATED = (*_NAMES, *_LOGINS, *_QUOTES, *_SCHEMES, *_KEYS)

PIECES = (
    *("password", "pass", "pw", "token", "auth", "sig", "key", "authorization: ", "cookie: ", "-u ", "_LOGIN=", "--"),
    *("=", ":", "=>", '="', "%3D", "|\n", "> \n", " is ", "b'", "'", '"', "\\", "\\\\", "[", "]", "{", "}", "(", ")"),
    *("<", ">", "</", "<![CDATA[", "]]>", "&", "?", "&amp;", ";", "://", "@", "/"),
    *(".", "-", "_", " ", "\t", "\n", "\r\n"),
    *("eyJ", "eyJabcdefgh.", "sk-", "AKIA", "$1$", "$argon2id$", "hooks.slack.com/services/", "Bearer ", "Basic "),
    *("-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----", "[redacted]", '"body": "', "AAAA"),
    *("x" * 59, " " * 61, "user:", "name:", "\\u0061", '{"a":', '"password":', "\0", "é"),
)
"""Parts of texts that the patterns look for. A text of several of them may meet several patterns."""
