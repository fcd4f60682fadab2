"""Logs in with SCRAM-SHA-256 as the library scramp speaks it, and says what came of it.

Usage: scram_login.py HOST PORT CA NAME USER PASSWORD
NAME is what the certificate has to be for. Prints one line of JSON: the reply's code, and the EHLO line that offers AUTH.
"""

import json
import smtplib
import ssl
import sys

import scramp


class Exchange:
    """Answers each challenge; the last one is the server's proof, which scramp checks."""

    def __init__(self, user, password):
        self.client = scramp.ScramClient(["SCRAM-SHA-256"], user, password)
        self.step = 0

    def __call__(self, challenge=None):
        self.step += 1
        if challenge is None:
            self.step = 0
            return self.client.get_client_first()
        text = challenge.decode()
        if self.step == 1:
            self.client.set_server_first(text)
            return self.client.get_client_final()
        self.client.set_server_final(text)
        return ""


def main():
    host, port, ca, name, user, password = sys.argv[1:]
    context = ssl.create_default_context(cafile=ca)
    with smtplib.SMTP(host, int(port), timeout=30) as smtp:
        smtp._host = name
        smtp.starttls(context=context)
        smtp.ehlo()
        offered = smtp.esmtp_features.get("auth", "").strip()
        try:
            code, _ = smtp.auth("SCRAM-SHA-256", Exchange(user, password))
        except smtplib.SMTPAuthenticationError as error:
            code = error.smtp_code
        print(json.dumps({"code": code, "offered": offered}))


main()
