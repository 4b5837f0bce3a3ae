"""The pictures of the inbox page in docs/img: make screenshots"""

from __future__ import annotations

import io
import tempfile
import time
from email.message import EmailMessage
from pathlib import Path

from browser import chromium
from PIL import Image, ImageDraw
from playwright.sync_api import Page

from maildir_safe import Maildir
from maildir_safe._fs.posix import OsFileSystem
from maildir_safe._smtp.server.background import BackgroundServer
from maildir_safe._smtp.server.message_log import MessageLog
from maildir_safe._smtp.server.settings import Settings
from maildir_safe._web.app import serve_page

IMAGES = Path(__file__).parents[2] / "docs/img"
_WIDE = {"width": 1100, "height": 640}
_PHONE = {"width": 390, "height": 720}

MAILS = [  # minutes ago, from, to, subject
    (4320, "Cron <root@build.example>", "ops@shop.example", "Backup of db1 finished in 4 min 12 s"),
    (2890, "Shop <hello@shop.example>", "bob@example.org", "Reset your password"),
    (1443, "Shop <hello@shop.example>", "Jürgen Köhler <koehler@example.net>", "Deine Äpfel sind unterwegs"),
    (1440, "Monitoring <alerts@shop.example>", "ops@shop.example", "RESOLVED: disk usage on web3 is 71 %"),
    (1391, "Monitoring <alerts@shop.example>", "ops@shop.example", "PROBLEM: disk usage on web3 is 91 %"),
    (190, "Shop <hello@shop.example>", "test+signup@example.com", "Your code is 481 206"),
    (77, "postmaster@mx.example.org", "hello@shop.example", "Undelivered Mail Returned to Sender"),
    (31, "Shop <hello@shop.example>", "ada@example.com", "Your invoice 2026-1123"),
    (9, "Shop <hello@shop.example>", "newsletter@example.com", "Apples are ripe: 20 % off until Sunday"),
    (2, "Shop <hello@shop.example>", "Ada Lovelace <ada@example.com>", "Your order 4711 is on its way"),
]
ORDER = """<!doctype html><html><body style="margin:0;font-family:Helvetica,Arial,sans-serif;color:#223">
<div style="background:#2f6f4f;color:#fff;padding:18px 24px;font-size:22px">Orchard &amp; Co.</div>
<div style="padding:24px"><h2 style="margin-top:0">Thank you, Ada!</h2>
<p>Your order <b>4711</b> left our barn this morning and will be with you on Wednesday.</p>
<p><img src="cid:apples" width="96" height="96" style="vertical-align:middle"> 3 kg of apples, 12.60 €</p>
<p><a href="https://shop.example/track/4711" style="background:#2f6f4f;color:#fff;padding:10px 18px;
border-radius:5px;text-decoration:none">Follow your parcel</a></p>
<img src="https://tracker.example/pixel.gif" width="1" height="1"></div></body></html>"""


class Earlier(OsFileSystem):
    """A file system whose clock is some minutes behind, so that the list shows different times."""

    minutes = 0

    def time_ns(self) -> int:  # type: ignore[override]
        """See `FileSystem.time_ns`."""
        return time.time_ns() - self.minutes * 60 * 10**9


def fill(path: Path) -> None:
    """Mail as it comes to somebody who tests a shop."""
    earlier = Earlier()
    maildir = Maildir(path, fs=earlier)
    for at, (minutes, sender, recipient, subject) in enumerate(MAILS):
        earlier.minutes = minutes
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = sender, recipient, subject
        message.set_content(f"{subject}.\n\nThis is the text part.\n")
        if "4711" in subject:
            message.add_alternative(ORDER, subtype="html")
            html = message.get_payload()[1]
            html.add_related(apples(), "image", "png", cid="<apples>")  # type: ignore[union-attr]
            message.add_attachment(b"%PDF-1.7" * 4000, "application", "pdf", filename="Invoice 4711.pdf")
        address = recipient.rpartition("<")[2].strip(">")
        flags = "FS" if "code" in subject else "S" * (at < 5)
        maildir.deliver(message, sender="bounces@shop.example", recipient=address, flags=flags)


def apples() -> bytes:
    """A picture of three apples, 96 pixels wide."""
    image = Image.new("RGBA", (96, 96))
    draw = ImageDraw.Draw(image)
    for x, y, colour in ((8, 34, "#c0392b"), (46, 40, "#d35438"), (26, 8, "#a93226")):
        draw.ellipse((x, y, x + 42, y + 42), colour)
        draw.line((x + 21, y + 4, x + 26, y - 7), "#5d4037", 3)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def shoot(page: Page, name: str) -> None:
    """Take one picture; 256 colours are enough for a page, and a third of the bytes."""
    page.wait_for_timeout(1000)
    with Image.open(io.BytesIO(page.screenshot())) as image:
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(IMAGES / name, optimize=True)
    print(name, (IMAGES / name).stat().st_size // 1024, "KiB")


def main() -> None:
    """Take them all."""
    with tempfile.TemporaryDirectory(prefix="shop.") as place, chromium() as browser:
        path = Path(place, "Maildir")
        fill(path)
        settings = Settings(maildir=str(path), smtp=["127.0.0.1:0"], web="127.0.0.1:0")
        with BackgroundServer(settings, log=MessageLog(None), page=serve_page) as server:
            url = f"http://{server.service.web_address}/"
            for name, size, scheme, opened in (
                ("list.png", _WIDE, "light", None),
                ("dark.png", _WIDE, "dark", None),
                ("phone.png", _PHONE, "light", None),
                ("message.png", _WIDE, "light", "4711"),
                ("phone-message.png", _PHONE, "dark", "4711"),
            ):
                context = browser.new_context(viewport=size, color_scheme=scheme, device_scale_factor=1.5)  # type: ignore[arg-type]
                page = context.new_page()
                page.goto(url)
                if opened:
                    page.get_by_text(opened).first.click()
                    page.wait_for_load_state("networkidle")
                shoot(page, name)
                context.close()


if __name__ == "__main__":
    main()
