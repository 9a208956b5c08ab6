"""`pulling_children.py STORE SPELLED` forks a child that pulls, for each line of standard input, and writes its id.

A forked child imports nothing, so fifty of them can be killed. `done` or `failed` follows when a child has ended.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from starcoder_lsp.models.pull import Puller, Wanted
from starcoder_lsp.models.store import Store
from starcoder_lsp.models.transport import open_client


def pull() -> None:
    async def both() -> None:
        puller = Puller(Store(Path(sys.argv[1])))
        await puller.pull(await puller.plan(Wanted.of(sys.argv[2])))

    asyncio.run(both())


def main() -> None:
    open_client()  # children need not import it again
    for _ in sys.stdin:
        child = os.fork()
        if not child:
            try:
                pull()
            except BaseException as error:  # noqa: BLE001  the parent must not go on in a child
                print(error, file=sys.stderr, flush=True)
                os._exit(1)
            os._exit(0)
        print(child, flush=True)
        print("failed" if os.waitpid(child, 0)[1] else "done", flush=True)


if __name__ == "__main__":
    main()
