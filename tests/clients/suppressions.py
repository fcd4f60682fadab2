"""Adds, reads, lists and removes suppressions with the libraries of SendGrid and Mailgun, pointed at a gateway.

Usage: suppressions.py URL TOKEN DOMAIN. Says what it found, one JSON object; ends with an error when a library does.
"""

import json
import sys

import mailgun.client
import sendgrid

url, token, domain = sys.argv[1:]
found = {}

service = sendgrid.SendGridAPIClient(api_key=token, host=url)
asm = service.client.asm
groups = json.loads(asm.groups.get().body)
found["groups"] = sorted(group["name"] for group in groups)
weekly = str(next(group["id"] for group in groups if group["name"] == "weekly"))
added = asm.groups._(weekly).suppressions.post(request_body={"recipient_emails": ["s1@b.example", "s2@b.example"]})
found["added"] = added.status_code
found["of_group"] = sorted(json.loads(asm.groups._(weekly).suppressions.get().body))
asm.suppressions._("global").post(request_body={"recipient_emails": ["s3@b.example"]})
found["global"] = json.loads(asm.suppressions._("global")._("s3@b.example").get().body)
found["unsubscribes"] = [one["email"] for one in json.loads(service.client.suppression.unsubscribes.get().body)]
found["deleted"] = asm.groups._(weekly).suppressions._("s2@b.example").delete().status_code
found["left"] = json.loads(asm.groups._(weekly).suppressions.get().body)
limited = service.client.suppression.unsubscribes.get(query_params={"limit": 1, "offset": 0})
found["limited"] = len(json.loads(limited.body))

client = mailgun.client.Client(auth=("api", token), api_url=url)
made = client.unsubscribes.create(data={"address": "m1@b.example", "tag": "monthly"}, domain=domain)
found["mailgun_added"] = (made.status_code, made.json()["address"])
client.complaints.create(data={"address": "m2@b.example"}, domain=domain)
found["mailgun_one"] = client.unsubscribes.get(domain=domain, unsubscribe_address="m1@b.example").json()["tags"]
page = client.unsubscribes.get(domain=domain, filters={"limit": 2}).json()
found["mailgun_page"] = [item["address"] for item in page["items"]]
found["mailgun_next"] = page["paging"]["next"].startswith(url)
found["mailgun_complaints"] = [item["address"] for item in client.complaints.get(domain=domain).json()["items"]]
found["mailgun_refused"] = client.complaints.delete(domain=domain, complaint_address="m2@b.example").status_code
found["mailgun_gone"] = client.unsubscribes.delete(domain=domain, unsubscribe_address="m1@b.example").status_code
found["mailgun_absent"] = client.unsubscribes.get(domain=domain, unsubscribe_address="m1@b.example").status_code
print(json.dumps(found))
