"""A block between two tags on one line, from an engine that always writes one."""

from __future__ import annotations

import json

import pytest
from lsprotocol import types
from pytest_lsp import LanguageClient

from starcoder_lsp.engine.loading import DEMONSTRATOR
from tests.scripted_server import Reply, scripted_server

from .conftest import SETTINGS, Driver

CASES = [
    ("html", "<body>\n<ul></ul>\n</body>\n", "\n  <li>a</li>\n  <li>b</li>\n</ul>", "\n<p>"),
    (
        "javascriptreact",
        "function A() {\n  return (\n    <ul></ul>\n  );\n}\n",
        "\n      <li>a</li>\n    </ul>",
        "\n  );\n}",
    ),
    ("vue", "<template>\n  <ul></ul>\n</template>\n", "\n    <li>a</li>\n  </ul>", "\n</template>"),
]


@pytest.mark.parametrize(("language", "document", "block", "more"), CASES, ids=[case[0] for case in CASES])
async def test_a_block_between_two_tags_replaces_the_second(
    client: LanguageClient, language: str, document: str, block: str, more: str
) -> None:
    pieces = [{"choices": [{"text": character}]} for character in block + more]
    events = [f"data: {json.dumps(piece)}\n\n".encode() for piece in pieces]
    reply = Reply([*events, b"data: [DONE]\n\n"], headers={"Content-Type": "text/event-stream"})
    async with scripted_server({"/v1/models": {"data": [{"id": "m"}]}}, reply) as engine:
        driver = Driver(client)
        answers = {"kind": "openai", "url": engine.url, "model": "m", "vocabulary": str(DEMONSTRATOR)}
        await driver.start({**SETTINGS, "engine": answers, "completion": {"maxTokens": 256}})
        await driver.model_is_loaded()
        uri, line = f"file:///code/{language}", document[: document.index("<ul>")].count("\n")
        driver.open(uri, document, language)
        column = document.split("\n")[line].index("</ul>")
        item, *_ = await driver.complete(uri, line, column)
        assert item.insert_text == block
        assert item.range == types.Range(types.Position(line, column), types.Position(line, column + len("</ul>")))
