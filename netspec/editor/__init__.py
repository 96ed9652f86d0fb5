"""What an editor shows while a network is being typed: `netspec lsp`.

    server       messages of the Language Server Protocol -> calls of the features, and nothing else
    buffers      the texts that are open, edits applied; positions: places in the client's units
    pending      one analysis at a time for a text, the newest one
    view         a text's analysis with the tables that the features read
    outline      lists of entries, names and references as they are written, also in broken texts
    cursor       what is being typed at a place, from the raw text alone

    diagnostics, hints, hover, completion, navigation, symbols, actions: a pure function a feature, from a
    view and a place to plain values with code point offsets

Only `server` and `protocol` import the protocol's library (extra `lsp`).
"""
