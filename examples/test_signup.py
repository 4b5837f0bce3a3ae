"""A test of a program that sends mail: what it sends, and what it does when the mail server is busy.

pytest test_signup.py
"""

import smtplib
from email.message import EmailMessage


def sign_up(address, host, port):
    """The program under test: False if the mail could not be sent."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "shop@example.com", address, "Welcome"
    message.set_content("https://shop.example/confirm/42\n")
    try:
        with smtplib.SMTP(host, port) as server:
            server.send_message(message)
    except smtplib.SMTPException:
        return False
    return True


def test_the_link_is_in_the_mail(maildir_smtp):
    assert sign_up("ada@example.com", maildir_smtp.host, maildir_smtp.port)
    message = maildir_smtp.wait(to="ada@example.com", subject="welcome")
    assert "/confirm/42" in message.get_content()


def test_a_busy_server_is_no_exception(maildir_smtp):
    maildir_smtp.faults.add(stage="rcpt", reply="450 4.2.1 Busy", times=1)
    assert not sign_up("ada@example.com", maildir_smtp.host, maildir_smtp.port)
    assert sign_up("ada@example.com", maildir_smtp.host, maildir_smtp.port)
    assert len(maildir_smtp.messages) == 1
