"""The text listener: RESP-like and otherwise unwelcome lines."""
from case import Case

KEY = b"00000000-0000-4000-8000-000000000001"


def deep(levels):
    return b"INSERT docs " + KEY + b" " + b"[" * levels + b"]" * levels + b"\r\n"


def cases():
    def add(name, data, expect, login=False):
        found.append(Case("text", name, data, expect, login))

    found = []
    unknown = "-ERR unknown command: "
    for text in ("*-10", "*3000000000", "$-1", "$-10", "$blabla", "$18446744073709551615", "*+1",
                 "*01", "*1", "*11", "$20000", "%2", "~3", "_", "#t", ",1.5", "(12345678901234567890",
                 "!21", "=15", ">3"):
        add("the line " + text, text.encode() + b"\r\n", [unknown + text])
    for number in (0, 1, 15, 16, 17, 2**31 - 1, 2**31, 2**32 - 1, 2**63, -1):
        add("a bulk of %d" % number, b"*1\r\n$%d\r\nPING\r\n" % number,
            [unknown + "*1", unknown + "$%d" % number, "+PONG"])
    add("$ 4", b"$ 4\r\nPING\r\n", [unknown + "$", "+PONG"])
    add("*1 and foo", b"*1\r\nfoo\r\n", [unknown + "*1", unknown + "foo"])
    add("a bulk without CRLF", b"$4\r\nPINGxx\r\n", [unknown + "$4", unknown + "PINGxx"])
    add("RESP3 hello", b"HELLO 3\r\n", [unknown + "HELLO"])
    add("bare LF", b"\nPING\n", ["-ERR empty command", "+PONG"])
    add("only CRLF", b"\r\n", ["-ERR empty command"])
    add("a lone CR is white space", b"PING\rPING\n", ["+PONG"])
    add("a lone CR ends nothing", b"PING\r", "wait")
    add("NUL in a verb", b"PI\0NG\r\n", [unknown + "PI?NG"])
    add("only NUL", b"\0\r\n", [unknown + "?"])
    add("escape sequences are not echoed", b"\x1b[31mRED\r\n", [unknown + "?[31mRED"])
    add("CRLF in a name is another line", b"FROB x\r\n+OK\r\n", [unknown + "FROB", unknown + "+OK"])
    add("U+2028 and U+0085 are not echoed", "A\u2028B\r\n".encode(), [unknown + "A"])
    add("a redirect is not echoed", b"x@127.0.0.1:1;y\r\n", [unknown + "x%40127.0.0.1:1;y"])
    add("a line of 70,000 bytes", b"x" * 70000 + b"\r\n", [unknown + "x*"])
    add("a line of the limit", b"PING".ljust(1048575) + b"\n", ["+PONG"])
    add("a line over the limit", b"PING".ljust(1048576) + b"\nPING\n", ["-ERR line too long", "+PONG"])
    add("2 MiB over the limit", b"y" * (2 << 20) + b"\nPING\n", ["-ERR line too long", "+PONG"])
    add("unbalanced quotes", b'"PING\r\n', [unknown + '"PING'])
    add("unbalanced quotes in JSON", b'INSERT docs ' + KEY + b' {"a\r\n',
        ["-ERR invalid JSON: EOF while parsing a string*"], True)
    add("invalid UTF-8", b"PING \xff\r\n", "close")
    add("overlong UTF-8", b"PING \xc0\xaf\r\n", "close")
    add("a surrogate in UTF-8", b"PING \xed\xa0\x80\r\n", "close")
    add("UTF-8 beyond U+10FFFF", b"PING \xf4\x90\x80\x80\r\n", "close")
    add("half a character at the end", b"PING \xe2\x82\r\n", "close")
    add("UTF-16 with a mark", "PING\r\n".encode("utf-16"), "close")
    add("UTF-16 without a mark", "PING\r\n".encode("utf-16-le"), [unknown + "P?I?N?G?*"])
    add("a byte order mark", b"\xef\xbb\xbfPING\r\n", [unknown + "\ufeffPING"])
    add("eleven bad lines end it", b"?\r\n" * 12, [unknown + "?"] * 11 + [""])
    add("a good line forgives", (b"?\r\n" * 10 + b"PING\r\n") * 3 + b"PING\r\n",
        ([unknown + "?"] * 10 + ["+PONG"]) * 3 + ["+PONG"])
    for line in (b"WHOAMI", b"USE x", b"COUNT x", b"FLUSH", b"CREATE DATABASE x", b"LIST DATABASES",
                 b"INSERT docs " + KEY + b" {}", b"DROP DATABASE hostile", b"SCAN docs"):
        add("before login: " + line.decode(), line + b"\r\n", ["-ERR not authenticated"])
    for line in (b"LOGIN", b"LOGIN a", b"LOGIN a b", b"TOKEN", b"CREATE", b"DROP", b"LIST", b"USE",
                 b"INSERT", b"INSERT a", b"INSERT a b", b"GET", b"GET a", b"SCAN", b"SCAN a b", b"COUNT",
                 b"GRANT", b"REVOKE x", b"ALTER", b"SHOW", b"SCHEMA", b"QUERY a", b"QUERYRANGE a b c"):
        add("too few words: " + line.decode(), line + b"\r\n", ["-ERR missing argument: *"])
    add("a token of rubbish", b"TOKEN x\r\n", ["-ERR invalid token: *"])
    add("a token of dots", b"TOKEN ..\r\n", ["-ERR invalid token: *"])
    add("a token that claims no algorithm",
        b"TOKEN eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiIsInRlbmFudCI6Il9zeXN0ZW0ifQ.\r\n",
        ["-ERR invalid token: *"])
    add("a token of 1 MB", b"TOKEN " + b"a." * 500000 + b"\r\n", ["-ERR invalid token: *"])
    add("a tenant that is a path", b"LOGIN ../../etc admin x\r\n", ["-ERR invalid credentials"])
    add("a password of 1 MB", b"LOGIN _system admin " + b"p" * 1000000 + b"\r\n",
        ["-ERR invalid credentials"])
    for name in (b"../x", b"a/b", b".", b"..", b"a.b", b"_x", b"x" * 65, "ä".encode(), b"A", b"a\0b"):
        add("a database called %r" % name[:8], b"CREATE DATABASE " + name + b"\r\n",
            ["-ERR invalid name: *"], True)
        add("a collection called %r" % name[:8], b"CREATE COLLECTION " + name + b"\r\n",
            ["-ERR invalid name: *"], True)
        add("USE of %r" % name[:8], b"USE " + name + b"\r\n", ["-ERR database not found: *"], True)
    for levels, expect in ((127, ["+OK"]), (128, ["-ERR invalid JSON: recursion limit exceeded*"]),
                           (1000, ["-ERR invalid JSON: recursion limit exceeded*"]),
                           (100000, ["-ERR invalid JSON: recursion limit exceeded*"])):
        line = deep(levels)
        add("%d levels" % levels, line + (b"DELETE docs " + KEY + b"\r\n" if levels == 127 else b""),
            expect + (["+OK"] if levels == 127 else []), True)
    for value, reason in ((b"1e400", "number out of range"), (b"-", "*"), (b"01", "*"), (b"1.", "*"),
                          (b"+1", "expected value"), (b"NaN", "*"), (b"Infinity", "*"),
                          (b"nulx", "expected ident"), (b"[1,]", "trailing comma"),
                          (b'{"a":1,}', "*"), (b"{a:1}", "key must be a string"),
                          (b"'a'", "expected value"), (b'"\\ud800"', "lone leading surrogate*"),
                          (b'"\\x"', "invalid escape"), (b'"\x01"', "control character*"),
                          (b"1 2", "trailing characters"), (b'{"a\\u0000":1}', "key contains a NUL*"),
                          (b"/* */ 1", "expected value"), (b"1e", "*"), (b'"\\u12"', "*")):
        add("JSON %s" % value.decode("latin-1"), b"INSERT docs " + KEY + b" " + value + b"\r\n",
            ["-ERR invalid JSON: " + reason.rstrip("*") + "*"], True)
    for value, back in ((b"1e308", "1e+308"), (b"9" * 10000, None), (b"-0", "-0.0"),
                        (b"9007199254740993", "9007199254740993"), (b'"\\u0000"', '"\\u0000"'),
                        (b"9223372036854775808", "9.223372036854776e+18"),
                        (b'{"a":1,"a":2}', '{"a":2}'), (b'{"__proto__":1}', '{"__proto__":1}')):
        expect = ["+OK", "$*", back, "+OK"] if back else ["-ERR invalid JSON: number out of range*"]
        add("stored as it is: %s" % value[:24].decode(), b"INSERT docs " + KEY + b" " + value + b"\r\n" +
            (b"GET docs " + KEY + b"\r\nDELETE docs " + KEY + b"\r\n" if back else b""), expect, True)
    for key in (b"x", b"0" * 31, b"0" * 33, b"g" * 32, b"{" + KEY, KEY + b"}", KEY[:-1], KEY + b"0",
                b"urn:uuid:", b"{}", b"-" * 36, "é".encode() * 16):
        add("the key %s" % key[:12].decode("utf-8", "replace"), b"GET docs " + key + b"\r\n",
            ["-ERR invalid UUID '*"], True)
    add("90,000 members", b"INSERT docs " + KEY + b" {" + b",".join(
        b'"%x":0' % number for number in range(90000)) + b"}\r\nDELETE docs " + KEY + b"\r\n",
        ["+OK", "+OK"], True)
    add("concerns in excess", b"READ_CONCERN R=99999999 GET docs " + KEY + b"\r\n", ["-ERR *"], True)
    return found
