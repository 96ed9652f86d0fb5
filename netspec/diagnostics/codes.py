"""Every diagnostic's code and what it means, in one sentence each."""

from __future__ import annotations

CODES: dict[str, str] = {
    # reading a file
    "file-not-found": "There is no file of that name.",
    "file-unreadable": "The file exists but could not be read: a folder, no permission, or a failing disk.",
    "file-too-large": "The file is larger than a network description can sensibly be.",
    "not-utf8": "The file is not UTF-8 text.",
    "binary-file": "The file contains NUL characters, so it is not a text file.",
    "control-character": "The text contains a character that YAML does not allow.",
    "empty-file": "The file has no content besides comments.",
    # limits
    "too-deep": "Lists and mappings are nested deeper than is allowed.",
    "too-many-nodes": "The file holds too many values, counting those repeated through aliases.",
    # YAML syntax
    "syntax-error": "The text is not valid YAML.",
    "tab-indentation": "YAML indents with spaces; tabs are not allowed there.",
    "bad-indentation": "A line's indentation fits neither the block it follows nor any block around it.",
    "unclosed-bracket": "A `[` or `{` is not closed where its value ends.",
    "stray-bracket": "A `]` or `}` closes nothing.",
    "unclosed-quote": "A quoted text has no closing quote.",
    "invalid-escape": "A text in double quotes contains an unknown escape.",
    "missing-comma": "Two entries inside `[]` or `{}` have no comma between them.",
    "stray-comma": "A comma inside `[]` or `{}` has no entry before it.",
    "missing-space": "A colon needs a space after it to separate a key from its value.",
    "missing-colon": "A line inside a mapping is not of the form `key: value`.",
    "colon-in-value": "A value without quotes contains `: `.",
    "doubled-colon": "A key is followed by two colons.",
    "stray-dash": "A list item's `-` stands where no list item can.",
    "special-character": "A value without quotes starts with a character that means something in YAML.",
    "unexpected-text": "There is text after the end of a value.",
    "multiple-documents": "The file holds a second YAML document.",
    # YAML values
    "duplicate-key": "A mapping has the same key twice.",
    "complex-key": "A key is a list or a mapping.",
    "empty-key": "A value has no key before its colon.",
    "undefined-alias": "An alias names an anchor that is not defined before it.",
    "recursive-alias": "An alias stands inside the value that it repeats.",
    "invalid-merge": "The merge key `<<` takes a mapping or a list of mappings.",
    "unsupported-tag": "A tag is not one of YAML's core types.",
    "invalid-tag-value": "A value does not have the type that its tag names.",
    "integer-too-large": "An integer does not fit 64 bits.",
    "float-too-large": "A number is beyond the range of a 64-bit float.",
    "python-tuple": "A Python tuple was written inside `{}` or `[]`, where its commas separate entries.",
    "unquoted-comma": "A value without quotes contains a comma inside parentheses.",
    # values from Python
    "unsupported-value": "A Python value has no YAML form.",
    "recursive-value": "A Python list or dict contains itself.",
}
