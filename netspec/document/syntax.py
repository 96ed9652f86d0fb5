"""The YAML parser's complaints as plain sentences at the place where something must be changed.

libyaml says "did not find expected key" where a reader would say "the quote opened in line 3 is not closed".
What is said here follows from the text around the complaint more than from its words, which differ between
libyaml and PyYAML's own parser.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from netspec.diagnostics import Source
from netspec.document.reader import Complaint

# What YAML's character set leaves out: https://yaml.org/spec/1.2.2/#51-character-set
_FORBIDDEN = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)  # fmt: skip
_KEY = re.compile(r"[ ]*(?:- +)*(?:\"[^\"\n]*\"|'[^'\n]*'|[^\s#'\"\[\]{},&*!|>%@`][^#\n{\[]*?) *:(?=\s|\Z)")
_GLUED = re.compile(r"[ ]*(?:- +)*([A-Za-z_]\w*):([^\s:/].*)")
_OPENING_QUOTE = re.compile(r"(?:(?<=[\[{,])|(?<=[:\-,?] )|(?<=[\[{,] )|^) *(['\"])")
_TAB_LINE = re.compile(r"(?:\A|(?<=[\r\n])) *\t[ \t]*[^\s#]")
_PAIRS = {"]": "[", "}": "{"}
_CLOSING = {"[": "]", "{": "}"}
_KEY_WITHIN = 1000  # characters of a line in which its key is looked for; the expression is quadratic
_LOOK_BACK = 200  # lines searched for a quote left open

Remark = tuple[str, int, int]


@dataclass(slots=True)
class Problem:
    """A syntax error. `at` is where the parser gave up, `anchor` the place whose entry holds the mistake."""

    code: str
    message: str
    start: int
    end: int
    anchor: int
    at: int
    help: str | None = None
    notes: tuple[Remark, ...] = ()
    pattern: re.Pattern[str] = _FORBIDDEN


def control_character(source: Source, text: str) -> Problem | None:
    """The first character that YAML does not allow, if there is one."""
    found = _FORBIDDEN.search(text)
    if found is None:
        return None
    at, code = found.start(), ord(found[0])
    if code == 0xFEFF:
        message, advice = "byte order mark (U+FEFF) inside the text", "remove it"
    elif 0xD800 <= code < 0xE000:
        message, advice = f"unpaired surrogate U+{code:04X}", "save the file as UTF-8"
    else:
        message, advice = f"control character U+{code:04X}", 'remove it, or write it as an escape in "..."'
    return Problem("control-character", message, at, at + 1, at, at, advice)


def explain(source: Source, text: str, complaint: Complaint, open_flows: list[int]) -> Problem:
    """What is wrong, from the parser's complaint and the brackets open where it was raised."""
    at = min(complaint.at, len(text))
    explainer = _Explainer(source, text, complaint, at, open_flows)
    problem = (
        explainer.tab()
        or explainer.quote()
        or explainer.special()
        or explainer.flow()
        or explainer.glued()
        or explainer.colon()
        or explainer.dash()
        or explainer.layout()
        or explainer.other()
    )
    problem.at = at
    return problem


class _Explainer:
    """The questions asked in turn; each answers with a problem or None."""

    def __init__(
        self, source: Source, text: str, complaint: Complaint, at: int, open_flows: list[int]
    ) -> None:
        self.source, self.text, self.complaint = source, text, complaint
        self.at, self.context_at = at, complaint.context_at
        self.open_flows = open_flows
        self.line = source.position(at)[0]
        self.line_start = source.line_start(self.line)
        self.content = self._content(self.line)
        self.character = text[at : at + 1]
        self.problem = complaint.problem

    # -- tabs

    def tab(self) -> Problem | None:
        """Tabs in the indentation of the line complained of, or of the one where its context begins."""
        if self.open_flows or "flow" in self.complaint.context:
            return None  # between brackets tabs are as good as spaces
        for line in dict.fromkeys((self.line, self._line_of(self.context_at))):
            content = self._content(line)
            lead = content[: len(content) - len(content.lstrip(" \t"))]
            if "\t" in lead:
                break
        else:
            return None
        start = self.source.line_start(line)
        first = start + lead.index("\t")
        others = sum(1 for each in _TAB_LINE.finditer(self.text, start)) - 1
        more = f" ({others} more below)" if others > 0 else ""
        message = f"tab in the indentation{more}"
        advice = "indent with spaces; most editors can convert tabs to spaces"
        return Problem("tab-indentation", message, first, start + len(lead), first, self.at, advice)

    # -- quotes

    def quote(self) -> Problem | None:
        """A quoted text that does not end where its line does."""
        context_is_quote = (
            "quoted scalar" in self.complaint.context or "double-quoted" in self.complaint.context
        )
        if context_is_quote and "escape" in self.problem:
            start, end = self.at, min(self.at + 2, len(self.text))
            # libyaml points at the backslash, PyYAML behind it
            if self.character != "\\" and self.text[start - 1 : start] == "\\":
                start, end = start - 1, min(start + 1, len(self.text))
            shown = self.text[start:end]
            advice = "in single quotes a backslash is a backslash"
            anchor = self.context_at if self.context_at is not None else start
            return Problem(
                "invalid-escape", f"`{shown}` is not an escape", start, end, anchor, self.at, advice
            )
        opening = self._open_quote()
        if opening is None and context_is_quote:
            opening = self.context_at
        if opening is None:
            return None
        sign = self.text[opening : opening + 1]
        advice = f"add the closing {sign}"
        if sign == "'":
            advice += "; inside single quotes an apostrophe is written twice"
        message = f"the quote {sign} opened here is not closed"
        return Problem("unclosed-quote", message, opening, opening + 1, opening, self.at, advice)

    def _open_quote(self) -> int | None:
        """The last quote before the complaint that runs over its line's end into a line no deeper than it."""
        first = max(
            self._line_of(self.context_at) if self.context_at is not None else 1, self.line - _LOOK_BACK
        )
        if self.open_flows:
            first = min(first, self._line_of(self.open_flows[0]))
        for line in range(first, self.line + 1):
            opening = self._quote_left_open(line)
            if opening is None or opening > self.at:
                continue
            following = next(
                (each for each in range(line + 1, self.line + 1) if self._content(each).strip()), None
            )
            if following is None or self._indent(following) <= self._indent(line):
                return opening
            if _KEY.match(self._content(following)[:_KEY_WITHIN]):
                return opening
        return None

    def _quote_left_open(self, line: int) -> int | None:
        content, at = self._content(line), 0
        while found := _OPENING_QUOTE.search(content, at):
            start = found.start(1)
            comment = re.search(r"(?:^|\s)#", content[at:start])
            if comment:
                return None
            body = r'"(?:[^"\\]|\\.)*"' if found[1] == '"' else r"'(?:[^']|'')*'"
            whole = re.compile(body).match(content, start)
            if whole is None:
                return self.source.line_start(line) + start
            at = whole.end()
        return None

    # -- signs that need quotes

    def special(self) -> Problem | None:
        """A value that starts with a sign of YAML's own."""
        start = self.at
        scanned = ("alias", "anchor", "tag", "directive", "block scalar", "parsing a node")
        if self.context_at is not None and any(word in self.complaint.context for word in scanned):
            start = self.context_at
        elif "start any token" not in self.problem:
            return None
        sign = self.text[start : start + 1]
        if not sign or sign.isspace():
            return None
        word = re.compile(r"[^\s,\[\]{}]+").match(self.text, start)
        end = word.end() if word else start + 1
        meaning = {
            "*": "an alias", "&": "an anchor", "!": "a tag", "%": "a directive", "|": "a block text",
            ">": "a block text", "@": "nothing yet", "`": "nothing yet",
        }.get(sign, "something else")  # fmt: skip
        reserved = meaning == "nothing yet"
        shown = "a backtick" if sign == "`" else f"`{sign}`"
        message = f"a value cannot start with {shown}" + (
            ", which YAML reserves" if reserved else f", which begins {meaning}"
        )
        advice = "put the value in quotes"
        return Problem("special-character", message, start, end, start, self.at, advice)

    # -- brackets

    def flow(self) -> Problem | None:
        """Mistakes inside `[]` and `{}`."""
        opening = None
        if (
            "flow" in self.complaint.context
            and self.context_at is not None
            and self._sign(self.context_at) in "[{"
        ):
            opening = self.context_at
        if self.open_flows:
            opening = self.open_flows[0] if opening is None else min(opening, self.open_flows[0])
        if opening is None:
            if self.character and self.character in "]}":
                message = f"`{self.character}` closes nothing"
                return Problem("stray-bracket", message, self.at, self.at + 1, self.at, self.at, "remove it")
            return None
        stack, unclosed = self._brackets(opening)
        if unclosed is not None:
            return self._unclosed(unclosed, opening)
        return self._entries(stack[-1] if stack else opening, opening)

    def _unclosed(self, unclosed: tuple[int, int | None], anchor: int) -> Problem:
        start, other = unclosed
        sign = self._sign(start)
        message = f"`{sign}` is not closed"
        notes: tuple[Remark, ...] = ()
        if other is not None:
            notes = ((f"`{self._sign(other)}` comes first", other, other + 1),)
        advice = f"add `{_CLOSING[sign]}`"
        return Problem("unclosed-bracket", message, start, start + 1, anchor, self.at, advice, notes)

    def _brackets(self, opening: int) -> tuple[list[int], tuple[int, int | None] | None]:
        """The brackets open at the complaint, and the one that should have been closed before it, with the
        bracket of the other kind that shows it."""
        stack: list[int] = []
        indent = self._indent(self._line_of(opening))
        token = re.compile(
            r"\"(?:[^\"\\]|\\.)*\"|'(?:[^']|'')*'|(?<=\s)#[^\n]*|\n *|[\[\]{}]|[^\"'#\n\[\]{}]+|.", re.S
        )
        for found in token.finditer(self.text, opening):
            sign, at = found[0], found.start()
            if at > self.at and not sign.startswith("\n"):
                break
            if sign in _CLOSING:
                stack.append(at)
            elif sign in _PAIRS:
                if self._sign(stack[-1]) != _PAIRS[sign]:
                    return stack, (stack[-1], at)
                stack.pop()
                if not stack:
                    return stack, None
            elif sign.startswith("\n"):
                if at > self.at:
                    break
                rest = self.text[found.end() : found.end() + 300].split("\n", 1)[0]
                depth = len(sign) - 1
                if depth <= indent and rest.strip() and rest[0] not in "]}#" and self._begins_entry(rest):
                    return stack, (stack[-1], None)
        if self.at >= len(self.text.rstrip()):
            return stack, (stack[-1], None)
        return stack, None

    def _begins_entry(self, rest: str) -> bool:
        return rest.startswith(("- ", "---", "...")) or rest == "-" or _KEY.match(rest) is not None

    def _entries(self, opening: int, anchor: int) -> Problem:
        end = min(self.at + 1, len(self.text))
        kind = "{}" if self._sign(opening) == "{" else "[]"
        before = self.text[opening : self.at].rstrip()[-1:]
        if self.character == "," or (self.character and self.character in "]}" and before == ","):
            message = f"this comma inside `{kind}` has no entry before it"
            return Problem("stray-comma", message, self.at, end, anchor, self.at, "remove it")
        note = (f"this `{self._sign(opening)}`", opening, opening + 1)
        if self.character == "-":
            message = f"a list with `- ` cannot stand inside `{kind}`"
            return Problem("stray-dash", message, self.at, end, anchor, self.at, "write [1, 2]", (note,))
        if self.character == ":":
            # the text before the colon ran on from the value before it: `type: Conv2d kernel_size: 5`
            segment = re.compile(r"[^,\[\]{}\n]*\Z").search(self.text[opening + 1 : self.at])
            part = segment[0] if segment else ""
            words = part.split(":")[-1].split()
            if len(words) > 1 and ": " in part:
                start = self.at - len(words[-1]) - (len(part) - len(part.rstrip()))
                message = f"expected `,` before `{words[-1]}:`"
                return Problem(
                    "missing-comma", message, start, self.at, anchor, self.at, "put a comma between entries"
                )
            message = "a second `: ` in one entry"
            advice = "put the value in quotes if the colon belongs to it, or a comma between two entries"
            return Problem("colon-in-value", message, self.at, end, anchor, self.at, advice)
        closer = _CLOSING.get(self._sign(opening), "]")
        word = re.compile(r"[^\s,\[\]{}]+").match(self.text, self.at)
        end = min(word.end(), self.at + 40) if word else end
        shown = self.text[self.at : end] or "the end of the file"
        message = f"expected `,` or `{closer}` before `{shown}`"
        return Problem("missing-comma", message, self.at, end, anchor, self.at, "put a comma between entries")

    # -- keys

    def glued(self) -> Problem | None:
        """A line of a mapping without `: `."""
        if "could not find expected ':'" in self.problem and self.context_at is not None:
            line = self._line_of(self.context_at)
        elif "mapping values" in self.problem:
            line = self.line - 1 if self.line > 1 else self.line
            if not _GLUED.match(self._content(line)) or self._indent(line) != self._indent(self.line):
                return None
        else:
            return None
        content, start = self._content(line), self.source.line_start(line)
        found = _GLUED.match(content)
        if found:
            colon = start + found.end(1)
            message = f"no space after the colon of `{found[1]}`"
            advice = f"write `{found[1]}: {found[2]}`"
            return Problem("missing-space", message, colon, colon + 1, colon, self.at, advice)
        body = content.strip()
        first = start + len(content) - len(content.lstrip())
        advice = "a key is followed by a colon and a space"
        if body.startswith("-"):
            return Problem(
                "stray-dash", "a list item inside a mapping", first, first + 1, first, self.at, advice
            )
        message = f"expected `key: value`, found `{body[:60]}`"
        return Problem("missing-colon", message, first, start + len(content), first, self.at, advice)

    def colon(self) -> Problem | None:
        """A colon where a value already stands, or one too many."""
        if "mapping values" not in self.problem:
            return None
        before = self.text[self.line_start : self.at]
        if before.rstrip().endswith(":"):
            message, advice = "two colons in a row", "write one"
            return Problem("doubled-colon", message, self.at, self.at + 1, self.at, self.at, advice)
        key = _KEY.match(before[:_KEY_WITHIN])
        if key:
            message = "this value contains `: `"
            value = self.line_start + key.end() + len(before[key.end() :]) - len(before[key.end() :].lstrip())
            advice = f'put the value in quotes: "{self._content(self.line)[value - self.line_start :][:60]}"'
            return Problem("colon-in-value", message, self.at, self.at + 1, value, self.at, advice)
        return self._indentation()

    # -- layout

    def dash(self) -> Problem | None:
        """`- ` where no list item can begin."""
        if self.character != "-":
            return None
        before = self.text[self.line_start : self.at]
        if before.strip():
            message = "a list item cannot begin after other text in its line"
            advice = "begin it on a line of its own, or write the list as [1, 2]"
            return Problem("stray-dash", message, self.at, self.at + 1, self.at, self.at, advice)
        if self.context_at is not None and self._column(self.context_at) == self._column(self.at):
            message = "a list item where a `key: value` was expected"
            notes = (("the mapping begins here", self.context_at, self._line_end(self.context_at)),)
            advice = "indent it below the key it belongs to"
            return Problem("stray-dash", message, self.at, self.at + 1, self.at, self.at, advice, notes)
        return None

    def layout(self) -> Problem | None:
        """Indentation that fits no block, or text behind a finished value."""
        known = ("expected key", "block end", "'-' indicator", "block sequence entries", "document start")
        if not any(word in self.problem for word in known):
            return None
        before = self.text[self.line_start : self.at]
        if self.character == ":":
            message = "there is no key before this `:`"
            return Problem("empty-key", message, self.at, self.at + 1, self.at, self.at)
        if before.strip(" -"):
            end = self._line_end(self.at)
            shown = self.text[self.at : end]
            message = f"unexpected `{shown[:40]}` after the value"
            advice = "put the whole value in quotes, or remove it"
            return Problem("unexpected-text", message, self.at, end, self.at, self.at, advice)
        if "document start" in self.problem and self._column(self.at) == 1:
            end = self._line_end(self.at)
            message = "text after the end of the file's value"
            return Problem("unexpected-text", message, self.at, end, self.at, self.at)
        if self.context_at is not None and self._column(self.context_at) == self._column(self.at):
            message = "expected `- `: a list stands at this indentation"
            notes = (("the list begins here", self.context_at, self._line_end(self.context_at)),)
            advice = "indent it below the item it belongs to, or begin it with `- `"
            end = self._line_end(self.at)
            return Problem("bad-indentation", message, self.at, end, self.at, self.at, advice, notes)
        return self._indentation()

    def _indentation(self) -> Problem:
        start = self.line_start
        first = start + self._indent(self.line)
        end = self._line_end(self.at)
        depth = first - start
        above = [line for line in range(max(1, self.line - _LOOK_BACK), self.line) if self._is_entry(line)]
        advice = "give every line of a block the same indentation"
        notes: tuple[Remark, ...] = ()
        if above:
            last = above[-1]
            wanted = slice(0, 1) if self._content(self.line).lstrip().startswith("- ") else slice(None)
            fits = {column for line in above for column in self._columns(line)[wanted]}
            near = sorted(fits, key=lambda column: (abs(column - depth), -column))[:1]
            if near and near[0] != depth:
                advice = f"indent it by {near[0]} spaces, like the block it belongs to"
            before = self.source.line_start(last)
            notes = (("the line before", before + self._indent(last), before + len(self._content(last))),)
        message = f"indentation of {depth} fits no block here"
        return Problem("bad-indentation", message, first, max(end, first), first, self.at, advice, notes)

    def other(self) -> Problem:
        """Anything else, in the parser's own words."""
        code, advice = "syntax-error", None
        anchor = self.at
        if "incompatible YAML" in self.problem or "directive" in self.complaint.context:
            advice = "remove the line"
        words = " ".join(part for part in (self.problem, self.complaint.context) if part)
        end = min(self.at + 1, len(self.text))
        return Problem(code, f"not valid YAML: {words}", min(self.at, end), end, anchor, self.at, advice)

    # -- the text

    def _content(self, line: int) -> str:
        start = self.source.line_start(line)
        return self.text[start : start + len(self.source.line_text(line))].rstrip()

    def _indent(self, line: int) -> int:
        content = self._content(line)
        return len(content) - len(content.lstrip(" "))

    def _is_entry(self, line: int) -> bool:
        content = self._content(line).strip()
        return bool(content) and not content.startswith("#")

    def _columns(self, line: int) -> list[int]:
        """Where an entry of a block around this line may begin: its dashes, and what follows them."""
        content = self._content(line)
        found = re.match(r"( *)((?:- +)*)", content)
        if found is None:
            return []
        return [len(found[1]), len(found[0])]

    def _line_of(self, offset: int | None) -> int:
        return self.source.position(offset)[0] if offset is not None else self.line

    def _line_end(self, offset: int) -> int:
        line = self._line_of(offset)
        return max(offset, self.source.line_start(line) + len(self._content(line)))

    def _column(self, offset: int) -> int:
        return self.source.position(offset)[1]

    def _sign(self, offset: int) -> str:
        return self.text[offset : offset + 1] or " "
