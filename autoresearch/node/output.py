"""What a child prints, which is data: bounded, and made fit to show."""

from autoresearch.experiment import plain

KEPT = 1 << 15  # bytes of the beginning, and of the end


class Output:
    """What a child prints: counted in full, kept at both ends."""

    def __init__(self) -> None:
        self.size = 0
        self.head = bytearray()
        self.tail = bytearray()

    def add(self, piece: bytes) -> None:
        self.size += len(piece)
        room = KEPT - len(self.head)
        self.head += piece[:room]
        self.tail += piece[room:]
        if len(self.tail) > 2 * KEPT + len(piece):
            del self.tail[:-KEPT]

    @property
    def text(self) -> str:
        tail = self.tail[-KEPT:]
        left_out = self.size - len(self.head) - len(tail)
        gap = f"\n[{left_out} bytes left out]\n".encode() if left_out else b""
        shown = (self.head + gap + tail).decode("utf-8", "replace")
        return plain(shown.replace("\r", "\n"), limit=len(shown) + 1)
