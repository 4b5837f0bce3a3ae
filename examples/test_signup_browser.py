"""A sign-up in a browser: the form is sent, the mail comes, and the link in it is opened.

pip install playwright && playwright install chromium
pytest test_signup_browser.py

CHROMIUM may name another chromium than Playwright's own.
"""

import os
import re
import smtplib
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

from playwright.sync_api import expect, sync_playwright

FORM = '<form method="post"><label>Address <input name="address"></label><button>Sign up</button></form>'


class Shop(BaseHTTPRequestHandler):
    """The program under test: a form, a mail with a link, and the page behind the link."""

    mail = ("127.0.0.1", 25)

    def do_GET(self):
        self.answer("<h1>Welcome</h1>" if self.path == "/confirm/42" else FORM)

    def do_POST(self):
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        link = f"http://{self.headers['Host']}/confirm/42"
        with smtplib.SMTP(*self.mail) as server:
            server.sendmail("shop@example.com", form["address"], f"Subject: Your link\n\n{link}\n")
        self.answer("<h1>Look at your mail</h1>")

    def answer(self, page):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(page.encode())


@contextmanager
def shop(host, port):
    Shop.mail = (host, port)
    with ThreadingHTTPServer(("127.0.0.1", 0), Shop) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_the_link_in_the_mail_opens(maildir_smtp):
    with shop(maildir_smtp.host, maildir_smtp.port) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=os.environ.get("CHROMIUM"))
        page = browser.new_page()
        page.goto(url)
        page.get_by_label("Address").fill("ada@example.com")
        page.get_by_role("button", name="Sign up").click()
        expect(page.get_by_role("heading")).to_have_text("Look at your mail")

        message = maildir_smtp.wait(to="ada@example.com", subject="your link")
        page.goto(re.search(r"http://\S+", message.get_content())[0])
        expect(page.get_by_role("heading")).to_have_text("Welcome")
        browser.close()
