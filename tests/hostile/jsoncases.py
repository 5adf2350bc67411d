"""The JSON listener: the list "JSON lines"."""
import json

from case import Case

WHERE = {"database": "hostile", "collection": "docs"}


def request(**command):
    return json.dumps({"request_id": "h", "command": command}).encode() + b"\n"


def raw(document, type="insert_one", member="document"):
    """An insert whose document is given as bytes."""
    return (b'{"request_id":"h","command":{"type":"%s","database":"hostile","collection":"docs","%s":'
            % (type.encode(), member.encode()) + document + b"}}\n")


def nested(levels):
    return b"[" * levels + b"]" * levels


def cases():
    def add(name, data, expect):
        found.append(Case("json", name, data, expect))

    found = []
    # Two levels of the request stand around the document, one the document itself.
    for levels, expect in ((100, "ok"), (1000, "error"), (10**6, "error")):
        add("%d levels" % levels, raw(b'{"a":' + nested(levels) + b"}"), expect)
        add("%d levels of objects" % levels, raw(b'{"a":' * levels + b"1" + b"}" * levels),
            "ok" if levels < 100 else "any" if levels == 100 else "error")
        add("%d levels, unclosed" % levels, b"[" * levels + b"\n", "error")
        add("%d levels in an ignored member" % levels,
            b'{"request_id":"h","x":' + nested(levels) + b',"command":{"type":"ping"}}\n', expect)
        add("%d levels of filter" % levels,
            raw(b'{"$and":[' * levels + b'{"a":1}' + b"]}" * levels, "find", "filter"),
            "error" if levels > 100 else "any")
    for text, expect in (
            (b"1e999999", "error"), (b"-1e999999", "error"), (b"-0", "ok"), (b"9007199254740993", "ok"),
            (b"9223372036854775808", "ok"), (b"1" * 10000, "error"), (b"1e-999999", "ok"),
            (b"1" * 300, "ok"), (b"0." + b"1" * 10000, "ok"), (b"NaN", "error"), (b"Infinity", "error"),
            (b"-Infinity", "error"), (b"01", "error"), (b"1.", "error"), (b".5", "error"),
            (b"+1", "error"), (b"0x10", "error"), (b"1_000", "error"), (b"tru", "error"),
            (b"TRUE", "error"), (b"undefined", "error"), (b"'a'", "error"), (b'"\\ud800"', "error"),
            (b'"\\udc00"', "error"), (b'"\\ud800\\ud800"', "error"), (b'"\\u00"', "error"),
            (b'"\\q"', "error"), (b'"\x01"', "error"), (b'"\t"', "error"), (b'"\\u0000"', "ok"),
            (b"[1,]", "error"), (b"[,1]", "error"), (b"[1 2]", "error"), (b'{"a":1,}', "error"),
            (b'{"a" 1}', "error"), (b"{a:1}", "error"), (b'{1:1}', "error"), (b"// x", "error"),
            (b"/* x */ 1", "error"), (b"# x", "error"), (b'"open', "error"), (b"", "error")):
        add("the value %s" % text[:20].decode("latin-1"), raw(b'{"a":' + text + b"}"), expect)
    add("the same key twice, the last wins", raw(b'{"role":"user","role":"admin"}'), "ok")
    add("the same request_id twice",
        b'{"request_id":"a","request_id":"b","command":{"type":"ping"}}\n', "error")
    add("the same type twice", b'{"request_id":"a","command":{"type":"ping","type":"ping"}}\n', "any")
    add("NUL in a key", raw(b'{"a\\u0000b":1}'), "error")
    add("a raw NUL in a key", raw(b'{"a\0b":1}'), "error")
    add("a raw NUL between values", b'{"request_id":"h",\0"command":{"type":"ping"}}\n', "error")
    add("__proto__", raw(b'{"__proto__":{"admin":true},"constructor":1}'), "ok")
    add("the empty key", raw(b'{"":1}'), "any")
    add("a key of 1 MB", raw(b'{"' + b"k" * 1000000 + b'":1}'), "any")
    add("keys with dollars", raw(b'{"$where":"sleep(9)"}'), "any")
    add("a byte order mark", b'\xef\xbb\xbf{"request_id":"h","command":{"type":"ping"}}\n', "error")
    for name, bad in (("overlong", b"\xc0\xaf"), ("a stray byte", b"\x80"), ("0xff", b"\xff"),
                      ("a surrogate", b"\xed\xa0\x80"), ("beyond U+10FFFF", b"\xf4\x90\x80\x80"),
                      ("half a character", b"\xe2\x82")):
        add("UTF-8: " + name, raw(b'{"a":"' + bad + b'"}'), "close")
    add("UTF-16", '{"request_id":"h","command":{"type":"ping"}}\n'.encode("utf-16"), "refuse")
    add("CR only", b'{"request_id":"h","command":{"type":"ping"}}\r', "wait")
    add("no newline", b'{"request_id":"h","command":{"type":"ping"}}', "wait")
    add("two values on a line", b'{"request_id":"h","command":{"type":"ping"}} 1\n', "error")
    add("two requests on a line", b'{"request_id":"h","command":{"type":"ping"}}' * 2 + b"\n", "error")
    for text in (b"1", b"null", b"[]", b'"x"', b"{}", b"true", b'{"request_id":1}', b'{"request_id":null}',
                 b'{"request_id":"h"}', b'{"request_id":"h","command":"ping"}', b"}", b"]",
                 b'{"request_id":"h","command":{}}', b'{"request_id":"h","command":{"type":null}}',
                 b'{"request_id":"h","command":{"type":"bogus"}}', b'{"request_id":"h","command":null}',
                 b'{"request_id":"h","command":{"type":["ping"]}}', b"PING", b"GET / HTTP/1.1"):
        add("the line %s" % text.decode(), text + b"\n", "error")
    for member, value in (("database", 5), ("collection", None), ("documents", {}), ("documents", "x"),
                          ("documents", [1]), ("documents", [[]]), ("documents", [None])):
        add("insert_many with %s %s" % (member, value), request(
            type="insert_many", **{**WHERE, "documents": [], member: value}), "error")
    for filter_ in (5, "x", [], True, {"a": {"$foo": 1}}, {"$foo": 1}, {"$and": []}, {"$and": 1},
                    {"$or": [1]}, {"a": {"$in": 1}}, {"a": {"$in": {}}},
                    {"a": {"$gt": 1, "b": 2}}, {"$and": [{"$and": [{"$or": []}]}]}):
        add("the filter %s" % json.dumps(filter_), request(type="find", filter=filter_, **WHERE), "error")
        add("deleting by %s" % json.dumps(filter_), request(type="delete_many", filter=filter_, **WHERE),
            "error")
    for update in (5, None, "x", {"$foo": 1}, {"$set": 1}, {"$inc": {"a": "x"}}, {"$set": {"a": 1}, "b": 2},
                   {"_metadata": 1}, {"$set": {"_id": 7}}, {"$inc": {"name": 1}}):
        add("the update %s" % json.dumps(update), request(
            type="update_one", filter={"_id": "there"}, update=update, **WHERE), "error")
    for number in (-1, 1.5, "1", 2**64, 1e30, [], {}):
        add("the limit %s" % number, request(type="find", filter={}, limit=number, **WHERE), "error")
        add("the skip %s" % number, request(type="find", filter={}, skip=number, **WHERE), "error")
    for name in ("", "a/b", "../x", "a.b", "a\0b", "x" * 64, "a b", "a$b", "a*", "é" * 40, "\\"):
        add("a database called %r" % name[:9], request(type="create_database", name=name), "error")
    for name in ("", "a$b", "a\0b", "system.x", "x" * 300):
        add("a collection called %r" % name[:9],
            request(type="create_collection", database="hostile", name=name), "error")
    for key in ([], [1], {"$regularExpression": {"pattern": "a", "options": ""}}):
        add("the _id %s" % json.dumps(key), request(type="insert_one", document={"_id": key}, **WHERE), "error")
    add("10^5 in $in", request(type="count", filter={"a": {"$in": list(range(100000))}}, **WHERE), "ok")
    add("a regular expression that explodes", request(
        type="count", filter={"name": {"$regex": "^(a+)+$"}}, max_time_ms=500, **WHERE), "any")
    add("a document over 16 MiB", raw(b'{"a":"' + b"x" * 16777216 + b'"}'), "error")
    add("a request_id of 1 MB", b'{"request_id":"' + b"r" * 1000000 + b'","command":{"type":"ping"}}\n', "ok")
    return found
