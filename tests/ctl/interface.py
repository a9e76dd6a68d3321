# SPDX-License-Identifier: Apache-2.0
"""Varlink's interface language, and whether a value is of a type that it declares."""

import re

TOKEN = re.compile(r"\s*(?:#[^\n]*\s*)*(->|\[string\]|\[\]|[A-Za-z][A-Za-z0-9_.]*|[(),:?])")


class Wrong(Exception):
    """What was not as declared."""


class Parser:
    """Varlink's interface language, as far as it is used."""

    def __init__(self, text):
        self.tokens = TOKEN.findall(text)
        if TOKEN.sub("", text).strip(" \n"):
            raise Wrong("the interface file has something else in it: %r" % TOKEN.sub("", text).strip())
        self.at = 0

    def take(self, wanted=None):
        token = self.tokens[self.at] if self.at < len(self.tokens) else None
        if wanted and token != wanted:
            raise Wrong("the interface file: %r where %r should be" % (token, wanted))
        self.at += 1
        return token

    def peek(self):
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def type(self):
        token = self.take()
        if token == "?":
            return ("maybe", self.type())
        if token == "[]":
            return ("array", self.type())
        if token == "[string]":
            return ("map", self.type())
        if token == "(":
            self.at -= 1
            return self.struct()
        return ("name", token)

    def struct(self):
        self.take("(")
        fields, words = {}, []
        while self.peek() != ")":
            name = self.take()
            if self.peek() == ":":
                self.take(":")
                fields[name] = self.type()
            else:
                words.append(name)
            if self.peek() == ",":
                self.take(",")
        self.take(")")
        return ("enum", words) if words else ("struct", fields)

    def interface(self):
        types, methods, errors = {}, {}, {}
        self.take("interface")
        self.take()
        while self.peek():
            what, name = self.take(), self.take()
            if what == "type":
                types[name] = self.type()
            elif what == "method":
                taken = self.struct()
                self.take("->")
                methods[name] = (taken, self.struct())
            elif what == "error":
                errors[name] = self.struct()
            else:
                raise Wrong("the interface file: %r" % what)
        return types, methods, errors


BASIC = {"int": lambda v: isinstance(v, int) and not isinstance(v, bool), "string": lambda v: isinstance(v, str),
         "bool": lambda v: isinstance(v, bool), "object": lambda v: isinstance(v, dict),
         "float": lambda v: isinstance(v, (int, float)) and not isinstance(v, bool)}


def conform(value, kind, types, path):
    """Raises Wrong where value is not of that type."""
    what, detail = kind
    if what == "maybe":
        if value is not None:
            conform(value, detail, types, path)
    elif what == "array" and isinstance(value, list):
        for i, one in enumerate(value):
            conform(one, detail, types, "%s[%d]" % (path, i))
    elif what == "map" and isinstance(value, dict):
        for key, one in value.items():
            conform(one, detail, types, "%s.%s" % (path, key))
    elif what == "enum" and value in detail:
        pass
    elif what == "name" and detail in types:
        conform(value, types[detail], types, path)
    elif what == "name" and detail in BASIC and BASIC[detail](value):
        pass
    elif what == "struct" and isinstance(value, dict):
        for key in value:
            if key not in detail:
                raise Wrong("%s.%s is not declared" % (path, key))
        for key, inner in detail.items():
            if key not in value and inner[0] != "maybe":
                raise Wrong("%s.%s is missing" % (path, key))
            conform(value.get(key), inner, types, "%s.%s" % (path, key))
    else:
        raise Wrong("%s is %r, declared as %s" % (path, value, kind))
