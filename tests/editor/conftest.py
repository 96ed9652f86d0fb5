"""A running server for the tests of one module."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_lsp

from tests.editor.client import Client, config


@pytest_lsp.fixture(config=config(), scope="module")
async def client(lsp_client: Client) -> AsyncIterator[None]:
    await lsp_client.begin()
    yield
    await lsp_client.shutdown_session()
    assert lsp_client.log == [], "the server's log"
