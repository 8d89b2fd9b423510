"""Reads a batch body with fastavro and nothing of ours, and recomputes everything its manifest says about it.

Usage: read_batch.py BODY MANIFEST. Prints one JSON array with a line's worth of plain values for each record.
"""

import copy
import datetime
import decimal
import hashlib
import io
import json
import sys

import fastavro
import fastavro.schema

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def merkle_root(leaves):
    """RFC 6962, section 2.1, as it is written."""
    if not leaves:
        return sha256()
    if len(leaves) == 1:
        return sha256(b"\0", leaves[0])
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return sha256(b"\1", merkle_root(leaves[:split]), merkle_root(leaves[split:]))


def plain(value):
    if isinstance(value, decimal.Decimal):
        return str(int(value.scaleb(4)))
    if isinstance(value, datetime.datetime):
        return (value - EPOCH) // datetime.timedelta(microseconds=1)
    if isinstance(value, datetime.date):
        return (value - EPOCH.date()).days
    return value


def main(body_path, manifest_path):
    decimal.getcontext().prec = 40
    body = open(body_path, "rb").read()
    manifest = json.load(open(manifest_path, encoding="utf-8"))
    assert sha256(body).hex() == manifest["body"]["sha256"], "digest of the body"
    assert len(body) == manifest["body"]["bytes"], "length of the body"

    reader = fastavro.reader(io.BytesIO(body))
    schema = json.loads(reader.metadata["avro.schema"])
    canonical = fastavro.schema.to_parsing_canonical_form(schema)
    assert fastavro.schema.fingerprint(canonical, "sha256") == manifest["schema"]["fingerprint"], "fingerprint"

    assert sha256(reader.metadata["avro.schema"].encode()).hex() == manifest["schema"]["digest"], "text of the schema"

    without_digest = copy.deepcopy(schema)
    assert without_digest["fields"].pop()["name"] == "_digest"
    without_digest = fastavro.parse_schema(without_digest)

    digests, rows = [], []
    for record in reader:
        digest = record.pop("_digest")
        encoded = io.BytesIO()
        fastavro.schemaless_writer(encoded, without_digest, record)
        assert sha256(encoded.getvalue()) == digest, "digest of record %d" % (len(rows) + 1)
        digests.append(digest)
        rows.append([plain(value) for value in record.values()])

    assert len(rows) == manifest["body"]["records"], "records"
    assert sum(row[0] == "upsert" for row in rows) == manifest["body"]["upserts"], "upserts"
    assert merkle_root(digests).hex() == manifest["records_root"], "Merkle root"
    json.dump(rows, sys.stdout)


main(*sys.argv[1:])
