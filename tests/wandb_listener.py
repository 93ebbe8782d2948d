"""HTTP on loopback that can go down and come up again on the same port. It knows nothing of W&B."""

import json
import socket
import socketserver
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import Message
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any


@dataclass
class Reply:
    status: int
    content: Any = None  # bytes are sent as they are, the rest as JSON
    headers: dict[str, str] = field(default_factory=dict)


# From method, target, headers and body; called from many threads at once.
Answer = Callable[[str, str, Message, bytes], Reply]


class Listener(socketserver.ThreadingTCPServer):
    """Accepts in a thread of its own. `fault` hears of errors in our own code."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 512

    def __init__(self, port: int, answer: Answer, fault: Callable[[str], None]) -> None:
        super().__init__(("127.0.0.1", port), Handler, bind_and_activate=False)
        self.answer = answer
        self.fault = fault
        self.connections: set[socket.socket] = set()
        self.thread: threading.Thread | None = None
        self.server_bind()
        self.reservation = self.socket  # keeps the port while nobody listens

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def open(self) -> None:
        if self.thread is None:
            self.socket = socket.socket(self.address_family, self.socket_type)
            self.server_bind()
            self.server_activate()
            self.thread = threading.Thread(target=self.accept, daemon=True)
            self.thread.start()

    def accept(self) -> None:
        while True:
            try:
                connection, address = self.get_request()
            except OSError:  # shut
                return
            self.connections.add(connection)
            self.process_request(connection, address)

    def shut(self) -> None:
        """Nobody can connect, and whoever is connected is cut off."""
        if self.thread is not None:
            self.socket.shutdown(socket.SHUT_RDWR)  # wakes accept(); close() would not
            self.thread.join()
            self.thread = None
            self.socket.close()
            for connection in list(self.connections):
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def release(self) -> None:
        self.shut()
        self.reservation.close()

    def shutdown_request(self, request: Any) -> None:
        self.connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):  # a client, or we, cut the connection
            self.fault(f"the server's own fault: {sys.exception()!r}")
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One connection, kept alive from request to request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are two small writes
    server: Listener

    def handle_method(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        reply = self.server.answer(self.command, self.path, self.headers, body)
        content = reply.content
        if not isinstance(content, bytes):
            content = json.dumps(content).encode()
        self.send_response_only(HTTPStatus(reply.status))
        ours = {"Content-Type": "application/json", "Content-Length": str(len(content))}
        for name, value in (ours | reply.headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_HEAD = do_PATCH = do_DELETE = handle_method  # noqa: N815

    def log_message(self, format: str, *arguments: Any) -> None: ...
