#!/usr/bin/env python3
"""Submits one message with Python's smtplib. Usage: smtplib_send.py HOST PORT FROM RCPT..."""

import json
import os
import smtplib
import sys
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate, make_msgid
from pathlib import Path

TIMEOUT_SECONDS = 30


class Recording(smtplib.SMTP):
    """Keeps the replies that `sendmail` does not hand out."""

    def __init__(self, *arguments, **keywords):
        self.replies = {}
        self.final = None
        super().__init__(*arguments, **keywords)

    def rcpt(self, recip, options=()):
        reply = super().rcpt(recip, options)
        self.replies[recip] = reply
        return reply

    def data(self, msg):
        try:
            self.final = super().data(msg)
        except smtplib.SMTPDataError as error:
            # The answer to DATA itself, where the body was not asked for.
            self.final = (error.smtp_code, error.smtp_error)
            raise
        return self.final


def small_message(sender, recipients):
    message = EmailMessage()
    message["From"] = sender
    message["To"] = ", ".join(recipients)
    message["Subject"] = "Grüße from smtplib"
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain="client.example")
    message.set_content("A first line.\n.a line that starts with a dot\n\nAn end: ä ö ü.\n")
    return message.as_bytes(policy=SMTP)


def outcome(client, recipient):
    """The reply that settled one recipient: its own refusal, or what the final dot was answered with."""
    code, reply = client.replies.get(recipient, (None, b""))
    if code is not None and code < 300:
        code, reply = client.final or (None, b"")
    accepted = code is not None and code < 300
    text = None if code is None else reply.decode("utf-8", "replace")
    return {"recipient": recipient, "accepted": accepted, "code": code, "reply": text}


def main(arguments):
    if len(arguments) < 4:
        print(__doc__, file=sys.stderr)
        return 2
    host, port, sender, *recipients = arguments
    path = os.environ.get("MESSAGE_FILE")
    message = Path(path).read_bytes() if path else small_message(sender, recipients)
    client = Recording(timeout=TIMEOUT_SECONDS)
    try:
        client.connect(host, int(port))
        user = os.environ.get("SMTP_USER")
        if user:
            client.login(user, os.environ.get("SMTP_PASSWORD", ""))
        client.sendmail(sender, recipients, message)
        client.quit()
    except (smtplib.SMTPException, OSError) as error:
        print(f"smtplib: {error!r}", file=sys.stderr)
    results = [outcome(client, recipient) for recipient in recipients]
    for result in results:
        print(json.dumps(result))
    return 0 if any(result["accepted"] for result in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
