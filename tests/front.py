"""A proxy on loopback behind which a name of the internet leads to a local server.

Clients find it by HTTPS_PROXY and trust it by SSL_CERT_FILE, as behind a company's firewall; it
ends their encryption and passes everything on unread. Whatever else they ask for is refused.
"""

import socket
import socketserver
import threading
from contextlib import suppress
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext
from types import TracebackType
from typing import Any, Self

import trustme


class Front(socketserver.ThreadingTCPServer):
    """Serves while its context is open."""

    daemon_threads = True

    def __init__(self, name: str, port: int, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Tunnel)
        self.name, self.port = name, port
        self.asked: list[str] = []  # what clients wanted to reach
        self.context = SSLContext(PROTOCOL_TLS_SERVER)
        authority = trustme.CA()
        authority.issue_cert(name).configure_cert(self.context)
        authority.cert_pem.write_to_path(str(folder / "authority.pem"))
        self.environment = {
            "HTTPS_PROXY": f"http://127.0.0.1:{self.server_address[1]}",
            "SSL_CERT_FILE": str(folder / "authority.pem"),
        }

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None: ...


class Tunnel(socketserver.StreamRequestHandler):
    """One connection of a client."""

    server: Front

    def handle(self) -> None:
        wanted = self.rfile.readline().decode().split()[1]
        while self.rfile.readline().strip():
            pass
        self.server.asked.append(wanted)
        if wanted != f"{self.server.name}:443":
            self.wfile.write(b"HTTP/1.1 403 Forbidden\r\n\r\n")
            return
        self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        with (
            self.server.context.wrap_socket(self.connection, server_side=True) as client,
            socket.create_connection(("127.0.0.1", self.server.port)) as server,
        ):
            back = threading.Thread(target=pump, args=(server, client), daemon=True)
            back.start()
            pump(client, server)
            back.join()


def pump(source: socket.socket, target: socket.socket) -> None:
    """Everything that comes, until the end of it."""
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
