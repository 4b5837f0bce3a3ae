"""A server for mail that hangs or refuses as a test tells it."""

from __future__ import annotations

import socketserver
import threading


class Smarthost(socketserver.ThreadingTCPServer):
    """Takes mail by SMTP, each connection in a thread.

    Attributes:
        port: on 127.0.0.1.
        reply_to_recipient: what RCPT is answered.
        hang_at: the first RCPT of an address that begins so is not answered before `release`. "": none is.
        hanging: set while a connection hangs.
        tried: the sender and recipient of each RCPT, in order.
        taken: sender, recipient and text of each message that was taken.
    """

    allow_reuse_address = daemon_threads = True
    block_on_close = False

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Connection)
        self.port: int = self.server_address[1]
        self.reply_to_recipient = "250 ok"
        self.hang_at = ""
        self.hanging = threading.Event()
        self._released = threading.Event()
        self.tried: list[tuple[str, str]] = []
        self.taken: list[tuple[str, str, bytes]] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def release(self) -> None:
        """Answer the connections that hang."""
        self._released.set()

    def close(self) -> None:
        """End, and release what hangs."""
        self.release()
        self.shutdown()
        self.server_close()

    def __exit__(self, *_: object) -> None:
        self.close()

    def hang(self) -> None:
        """Wait for `release`, once."""
        self.hang_at = ""
        self.hanging.set()
        self._released.wait()
        self.hanging.clear()


class _Connection(socketserver.StreamRequestHandler):
    server: Smarthost

    def handle(self) -> None:
        try:
            self._talk()
        except OSError:
            pass  # the client has gone

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())

    def _talk(self) -> None:
        self._say("220 sink.example ESMTP")
        sender, recipients = "", []
        for raw in self.rfile:
            verb, _, rest = raw.decode(errors="replace").strip().partition(" ")
            address = rest.partition("<")[2].partition(">")[0]
            match verb.upper():
                case "MAIL":
                    sender, recipients = address, []
                    self._say("250 ok")
                case "RCPT":
                    self.server.tried.append((sender, address))
                    recipients.append(address)
                    if self.server.hang_at and address.startswith(self.server.hang_at):
                        self.server.hang()
                    self._say(self.server.reply_to_recipient)
                case "DATA":
                    self._say("354 go")
                    if (text := self._text()) is None:
                        return
                    self.server.taken += [(sender, recipient, text) for recipient in recipients]
                    self._say("250 taken")
                case "QUIT":
                    self._say("221 bye")
                    return
                case _:
                    self._say("250 ok")

    def _text(self) -> bytes | None:
        """What comes before the lone dot; None if the client goes away first."""
        lines = []
        for line in self.rfile:
            if line.rstrip(b"\r\n") == b".":
                return b"".join(lines)
            lines.append(line)
        return None
