"""Which URLs a task may name."""

from urllib.parse import urlsplit

import pytest
import yarl
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from ips_common.models.webhook import WebhookUrl, literal_address

URL: TypeAdapter[str] = TypeAdapter(WebhookUrl)


def complaint(url: str) -> str:
    with pytest.raises(ValidationError) as caught:
        URL.validate_python(url)
    return caught.value.errors()[0]["msg"]


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com/ips?team=a&token=b%20c",
        "http://hooks.example.com:8080",
        "HTTPS://Hooks.Example.COM./",
        "https://xn--bcher-kva.example/",
        "https://my_service.example/",
        "https://8.8.8.8/hook",
        "https://[2606:4700::1111]:8443/hook",
        "https://1password.example/",
        "https://hooks.example.com/path@with:colon",
        "http://localhost/",
    ],
)
def test_ordinary_urls_are_taken_as_they_are(url: str) -> None:
    assert URL.validate_python(url) == url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ftp://example.com", "must be an http or https URL"),
        ("file:///etc/passwd", "must be an http or https URL"),
        ("gopher://example.com/_x", "must be an http or https URL"),
        ("javascript:alert(1)", "must be an http or https URL"),
        ("//example.com/hook", "must be an http or https URL"),
        ("https://", "must be an http or https URL"),
        ("https:///hook", "must be an http or https URL"),
        ("http://[x", "must be an http or https URL"),
        ("http://example.com:99999/", "must be an http or https URL"),
        ("http://example.com:x/", "must be an http or https URL"),
        ("http://example.com:0/", "must not have port 0"),
        ("https://user:secret@example.com/", "must not hold a user name or password"),
        ("https://user@example.com/", "must not hold a user name or password"),
        ("https://@example.com/", "must not hold a user name or password"),
        ("https://example.com#@127.0.0.1:80@10.0.0.1/\\", "no backslash"),
        ("https://example.com\\@127.0.0.1/", "no backslash"),
        ("https://example.com/a\0b", "visible ASCII"),
        ("https://example.com/a\r\nHost: b", "visible ASCII"),
        ("https://example.com/a\tb", "visible ASCII"),
        (" https://example.com/", "visible ASCII"),
        ("https://example.com/\x7f", "visible ASCII"),
        ("https://b\u00fccher.example/", "visible ASCII"),
        ("http://\u2460\u2461\u2466.\u24ea.\u24ea.\u2460/", "visible ASCII"),
        ("http://127\u30020\u30020\u30021/", "visible ASCII"),
        ("http://127.1/", "usual form"),
        ("http://2130706433/", "usual form"),
        ("http://0x7f000001/", "usual form"),
        ("http://0x7f.0.0.1/", "usual form"),
        ("http://0177.0.0.1/", "usual form"),
        ("http://127.0.0.1.2/", "usual form"),
        ("http://999.0.0.1/", "usual form"),
        ("http://%31%32%37.0.0.1/", "usual form"),
        ("http://[fe80::1%25eth0]/", "usual form"),
        ("http://[fe80::1%eth0]/", "usual form"),
        ("http://a..b/", "usual form"),
        ("http://.../", "usual form"),
        ("http://-a.example/", "usual form"),
        (f"http://{'a' * 64}.example/", "usual form"),
        (f"http://{'a.' * 130}example/", "usual form"),
        (f"http://example.com/{'a' * 2048}", "at most 2048"),
        ("", "at least 1"),
    ],
)
def test_what_is_no_plain_url_is_refused_with_the_reason(url: str, expected: str) -> None:
    assert expected in complaint(url)


@given(st.text(max_size=40))
def test_no_text_after_the_scheme_is_more_than_the_check_can_take(text: str) -> None:
    try:
        taken = URL.validate_python(f"http://{text}")
    except ValidationError:
        return
    assert taken.isascii()
    assert taken.isprintable()


@given(st.text(alphabet=st.sampled_from("ab1.:/?#@[]%-_;,&=x0"), min_size=1, max_size=20))
def test_whoever_calls_the_url_sees_the_same_host_as_the_check(text: str) -> None:
    try:
        taken = URL.validate_python(f"http://{text}")
    except ValidationError:
        return
    assert (yarl.URL(taken, encoded=True).raw_host or "").lower() == urlsplit(taken).hostname
    assert yarl.URL(taken, encoded=True).user is None


def test_a_literal_is_told_from_a_name() -> None:
    assert str(literal_address("10.0.0.1.")) == "10.0.0.1"
    assert str(literal_address("::1")) == "::1"
    assert literal_address("hooks.example.com") is None
