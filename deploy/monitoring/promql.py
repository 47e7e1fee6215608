"""As much of PromQL as it takes to say which series and labels an expression speaks of.

promtool knows the grammar but not which metrics there are; this knows the names but not the grammar. So it refuses what
it could misread: labels after an aggregation's operand, and selectors without a metric's name.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from deploy.monitoring.errors import CheckError

_TOKEN = re.compile(
    r"""\s+|\#[^\n]*
    |(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<variable>\$\{?\w+\}?)
    |(?P<number>[0-9][0-9a-zA-Z.]*)
    |(?P<word>[a-zA-Z_:][a-zA-Z0-9_:]*)
    |(?P<sign>=~|!~|!=|==|>=|<=|[-+*/%^=<>(){}\[\],@:])
    """,
    re.VERBOSE,
)
_AGGREGATIONS = frozenset(
    {"sum", "min", "max", "avg", "count", "group", "stddev", "stdvar", "topk", "bottomk", "quantile", "count_values"}
)
_SIDES = frozenset({"on", "ignoring", "group_left", "group_right"})
_OTHER_WORDS = frozenset({"and", "or", "unless", "bool", "offset", "inf", "nan"})


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition of a selector: label, operator, value without its quotes."""

    label: str
    operator: str
    value: str


@dataclass(frozen=True, slots=True)
class Selector:
    """A metric and the conditions on its labels."""

    metric: str
    matchers: tuple[Matcher, ...] = ()


@dataclass(frozen=True, slots=True)
class Grouping:
    """Labels that selectors are grouped or matched by; each of the selectors has to have them."""

    labels: tuple[str, ...]
    selectors: tuple[Selector, ...]


@dataclass(slots=True)
class Expression:
    """What an expression speaks of."""

    selectors: list[Selector] = field(default_factory=list)
    groupings: list[Grouping] = field(default_factory=list)


def parse(text: str) -> Expression:
    """Find the selectors and groupings of an expression.

    Raises:
        CheckError: it is none, or not written in the way that this can read.
    """
    return _Reader(tuple(_tokens(text)), text).read()


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise CheckError(f"cannot be read at {text[position : position + 20]!r}: {text}")
        position = match.end()
        if match.lastgroup:
            yield match.lastgroup, match[match.lastgroup]


class _Reader:
    def __init__(self, tokens: Sequence[tuple[str, str]], text: str) -> None:
        self._tokens = tokens
        self._text = text
        self._at = 0
        self._found = Expression()
        self._sides: list[tuple[str, ...]] = []

    def read(self) -> Expression:
        self._read_until("")
        selectors = tuple(self._found.selectors)
        # A vector match compares labels of both sides; what is copied from one side need not be on the other.
        self._found.groupings += [Grouping(labels, selectors) for labels in self._sides]
        return self._found

    def _read_until(self, closing: str) -> None:
        while self._at < len(self._tokens):
            kind, text = self._tokens[self._at]
            self._at += 1
            if kind == "sign" and text == closing:
                return
            if kind == "sign":
                self._sign(text)
            elif kind == "word":
                self._word(text)
        if closing:
            raise self._wrong(f"{closing} is missing")

    def _sign(self, text: str) -> None:
        match text:
            case "(":
                self._read_until(")")
            case "[":
                self._skip_range()
            case "{":
                raise self._wrong("a selector has no metric's name")
            case _:
                pass

    def _word(self, word: str) -> None:
        following = self._peek()
        if word in _AGGREGATIONS and following in {"(", "by", "without"}:
            self._aggregation()
        elif word in {"by", "without"}:
            raise self._wrong(f"write `{word}` before the operand")
        elif word in _SIDES:
            labels = self._labels() if following == "(" else ()
            if word == "on":
                self._sides.append(labels)
        elif word in _OTHER_WORDS or following == "(":
            return
        else:
            self._found.selectors.append(Selector(word, self._matchers() if following == "{" else ()))

    def _aggregation(self) -> None:
        labels: tuple[str, ...] = ()
        if self._peek() in {"by", "without"}:
            self._at += 1
            labels = self._labels()
        if self._peek() != "(":
            raise self._wrong("an aggregation has no operand")
        self._at += 1
        first = len(self._found.selectors)
        self._read_until(")")
        self._found.groupings.append(Grouping(labels, tuple(self._found.selectors[first:])))

    def _labels(self) -> tuple[str, ...]:
        self._at += 1
        labels = []
        while self._peek() != ")":
            kind, text = self._next()
            if kind == "word":
                labels.append(text)
            elif text != ",":
                raise self._wrong(f"{text} is no label")
        self._at += 1
        return tuple(labels)

    def _matchers(self) -> tuple[Matcher, ...]:
        self._at += 1
        matchers = []
        while self._peek() != "}":
            _, label = self._next()
            _, operator = self._next()
            kind, value = self._next()
            if kind != "string":
                raise self._wrong(f"{label} is compared with no string")
            matchers.append(Matcher(label, operator, value[1:-1]))
            if self._peek() == ",":
                self._at += 1
        self._at += 1
        return tuple(matchers)

    def _skip_range(self) -> None:
        while self._next()[1] != "]":
            pass

    def _peek(self) -> str:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else ""

    def _next(self) -> tuple[str, str]:
        if self._at >= len(self._tokens):
            raise self._wrong("the end is missing")
        self._at += 1
        return self._tokens[self._at - 1]

    def _wrong(self, what: str) -> CheckError:
        return CheckError(f"{what}: {self._text}")
