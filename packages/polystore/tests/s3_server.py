"""An S3 server for tests: moto's, one request at a time, with faults on demand.

One at a time, because a real server decides a conditional write in one step, and moto looks and writes in two.

With two arguments, a certificate and its key, it speaks TLS.

``POST /-/faults`` with ``{"kind": "500", "times": 3, "method": "PUT"}`` makes the next such requests fail:

* ``"500"``, ``"503"``, ``"409"``  answered so, nothing is done
* ``"lost"``                       done, then answered with 500
* ``"hang"``                       not answered for a while, nothing is done
* ``"ExpiredToken"`` ...           answered with 400 (403: AccessDenied, SignatureDoesNotMatch) and that code
"""

from __future__ import annotations

import json
import sys
import threading
from collections import Counter
from typing import Any

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

APP = DomainDispatcherApplication(create_backend_app)
ONE = threading.Lock()
STOP = threading.Event()
STATE: dict[str, Any] = {"fault": {"kind": "", "times": 0, "method": ""}, "seen": Counter()}


class Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, *arguments: Any) -> None: ...


def answer(start: Any, status: str, body: bytes = b"") -> list[bytes]:
    start(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
    return [body]


def application(environ: dict[str, Any], start: Any) -> Any:
    method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
    if path == "/-/faults":
        STATE["fault"] = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        return answer(start, "200 OK")
    if path == "/-/seen":
        seen, STATE["seen"] = STATE["seen"], Counter()
        return answer(start, "200 OK", json.dumps(seen).encode())
    STATE["seen"][method] += 1
    fault = STATE["fault"]
    if fault["times"] > 0 and fault["method"] in ("", method):
        fault["times"] -= 1
        kind = fault["kind"]
        if kind == "hang":
            STOP.wait(5)
        elif kind == "lost":
            body = environ["wsgi.input"]
            with ONE:
                b"".join(APP(environ, lambda *_: None))
            del body
            return answer(start, "500 Internal Server Error")
        length = int(environ.get("CONTENT_LENGTH") or 0)
        environ["wsgi.input"].read(length)
        if kind.isdigit() or kind == "hang":
            return answer(start, {"409": "409 Conflict", "503": "503 Slow Down"}.get(kind, "500 Error"))
        status = "400 Bad Request" if kind.startswith("Expired") else "403 Forbidden"
        text = (
            f"<?xml version='1.0'?><Error><Code>{kind}</Code><Message>TESTKEY, TESTSECRET</Message></Error>"
        )
        return answer(start, status, text.encode())
    with ONE:
        return list(APP(environ, start))


if __name__ == "__main__":
    certificate = tuple(sys.argv[1:3]) or None
    server = make_server(
        "127.0.0.1", 0, application, threaded=True, request_handler=Quiet, ssl_context=certificate
    )
    print(f"http{'s' if certificate else ''}://127.0.0.1:{server.server_port}", flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()  # until whoever started it ends
