"""Parsers of reports: pages must be balanced and load nothing, JSON must be strict."""

import json
import re
from html.parser import HTMLParser

FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069\ufffe\uffff]")
VOID = {"meta", "br"}
TAGS = """
    html head meta title style body main header footer section h1 h2 h3 p strong span code pre ul li dl dt dd div br a
    table caption thead tbody tr th td details summary svg rect
"""


class Balanced(HTMLParser):
    """A parser that fails if a tag is not closed, a script could run, or something would be loaded."""

    def __init__(self, page):
        super().__init__()
        self.open, self.seen, self.words = [], [], []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert tag in TAGS.split(), tag
        self.seen.append((tag, dict(attrs)))
        for name, value in attrs:
            assert not name.startswith("on"), name
            assert name not in ("src", "srcset", "action"), name
            assert name != "href" or re.fullmatch(r"#task-\d+", value), value
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def parse(page):
    return Balanced(page)


def not_a_number(word):
    raise AssertionError(f"JSON holds {word}")


def strict(page):
    return json.loads(page, parse_constant=not_a_number)
