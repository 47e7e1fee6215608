"""Input that nobody should send, from a seed: bodies for the API, and messages for the functions behind Pub/Sub."""

import base64
import json
from random import Random
from typing import Any

TEXTS = [
    "",
    " ",
    "\0",
    "a\0b",
    "\r\nSet-Cookie: x=1",
    "../../etc/passwd",
    "%00%ff%2e%2e",
    "${jndi:ldap://127.0.0.1/a}",
    "{{7*7}}",
    "'; drop table tasks;--",
    "\u202eevil\u202c",
    "e\u0301\u0301\u0301" * 40,
    "\u0130\u0131\u017f\u212a",
    "\U0001f4a9" * 50,
    "\ud800",
    "\ufeffbom",
    "\uffff",
    "a" * 63,
    "a" * 64,
    "a" * 253,
    "a" * 254,
    "x" * 70_000,
    "registry.example/" + "a/" * 120 + "b:1",
    "registry.example/a@sha256:" + "0" * 63,
    "registry.example/a:" + "t" * 128,
    "registry.example/a:" + "t" * 129,
    "registry.example:99999/a:1",
    "[::1]:5000/a:1",
    "UPPER/case:1",
    "-leading",
    "trailing-",
    "__name__",
    "task-" + "9" * 58,
]
NUMBERS = [0, -1, 1, 100, 101, 2**31, 2**53 + 1, 2**63, 2**64, 10**400, -(10**400), 0.5, 1e308, -0.0, 5e-324]
URLS = [
    "http://169.254.169.254/computeMetadata/v1/",
    "http://metadata.google.internal/",
    "http://127.0.0.1:22/",
    "http://[::ffff:127.0.0.1]/",
    "http://2130706433/",
    "http://0177.0.0.1/",
    "http://0x7f.1/",
    "https://user:URL_PASSWORD@hooks.example/",
    "file:///etc/passwd",
    "http://hooks.example/#@127.0.0.1",
    "http://hooks.example:0/",
    "https://hooks.example/" + "a" * 4000,
]
FIELDS = [
    "images",
    "batchSize",
    "nodeSelector",
    "priority",
    "maxConcurrentBatches",
    "maxRetries",
    "retryPolicy",
    "retryDelaySeconds",
    "timeoutSeconds",
    "successThreshold",
    "failFast",
    "pullPolicy",
    "skipPresent",
    "mode",
    "pullStrategy",
    "imagePullSecrets",
    "webhookUrl",
    "cluster",
    "__proto__",
    "taskId",
    "status",
]
RAW = [
    b"",
    b"null",
    b"[" * 200_000,
    b'{"a":' * 100_000,
    b'{"images": [NaN]}',
    b'{"batchSize": Infinity}',
    b'{"batchSize": 1' + b"0" * 5000 + b"}",
    b'{"batchSize": 1e99999}',
    b'{"images": ["\\ud800"]}',
    b'{"images": ["a"], "images": ["b"]}',
    b"\xff\xfe{\x00}\x00",
    b'\xef\xbb\xbf{"images": ["a"]}',
    b'{"images": ["a\x00"]}',
    b"{" + b" " * 1_000_000 + b"}",
    b'{"images": [' + b'"a",' * 200_000 + b'"a"]}',
    b'{"nodeSelector": {' + b",".join(b'"k%d": "v"' % number for number in range(50_000)) + b"}}",
]


def value(random: Random, depth: int = 0) -> Any:
    """Any JSON value, most of them unpleasant."""
    kind = random.randrange(8 if depth < 4 else 5)
    match kind:
        case 0:
            return random.choice(TEXTS)
        case 1:
            return random.choice(NUMBERS)
        case 2:
            return random.choice([None, True, False])
        case 3:
            return random.choice(URLS)
        case 4:
            return "".join(
                chr(random.choice((random.randrange(1, 0xD800), random.randrange(32, 127)))) for _ in "12345"
            )
        case 5:
            return [value(random, depth + 1) for _ in range(random.randrange(4))]
        case 6:
            return {random.choice(TEXTS): value(random, depth + 1) for _ in range(random.randrange(4))}
    nested: Any = None
    for _ in range(random.randrange(1, 900)):
        nested = [nested]
    return nested


def body(random: Random) -> bytes:
    """The body of a request for a task; few are what they should be."""
    if random.random() < 0.05:
        return random.choice(RAW)
    fields: dict[str, Any] = {"images": ["registry.example/hostile:1"], "nodeSelector": {"no": "such"}}
    for _ in range(random.randrange(4)):
        fields[random.choice(FIELDS)] = value(random)
    text = json.dumps(fields, ensure_ascii=random.random() < 0.5)
    raw = text.encode("utf-8", "surrogatepass")
    if random.random() < 0.1:
        raw = raw[: random.randrange(len(raw))]
    if random.random() < 0.1:
        raw = raw.replace(b'"', random.choice((b"'", b"\x00", b'""')), random.randrange(3))
    return raw


def push(random: Random) -> bytes:
    """What might be posted in Pub/Sub's name; nothing in it is a message that a function could act on."""
    if random.random() < 0.1:
        return random.choice(
            [*RAW[:14], b'{"message": 7}', b'{"message": {"data": "!"}}', b'{"data": {"message": []}}']
        )
    inner: Any = value(random)
    if random.random() < 0.7:
        inner = {
            "kind": random.choice(["batch", "notification", "release", *TEXTS]),
            "taskId": value(random),
            "eventId": value(random),
            "attempt": value(random),
            "batch": value(random),
            "cluster": value(random),
            "requestId": value(random),
        }
    data = json.dumps(inner).encode()
    message: dict[str, Any] = {
        "data": base64.b64encode(data).decode() if random.random() < 0.8 else value(random),
        "messageId": random.choice(["1", value(random)]),
        "publishTime": random.choice(["2026-01-02T03:04:05Z", value(random)]),
        "attributes": random.choice([{}, value(random), {"CloudPubSubDeadLetterSourceDeliveryCount": value(random)}]),
    }
    return json.dumps({"message": message, "subscription": value(random), "deliveryAttempt": value(random)}).encode()
