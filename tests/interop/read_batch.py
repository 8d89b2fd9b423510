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


def encoded(schema, value):
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, value)
    return out.getvalue()


KINDS = {"string": "text", "long": "integer", "timestamp-micros": "timestamp"}


def with_evidence(shown, record, evidence, types):
    """The digest of a record that commits to fields, as docs/redaction.md has it."""
    leaves = [sha256(b"huiliu.record/1", encoded("long", record["_id"]), encoded("long", record["_version"]))]
    for name, part in evidence.items():
        if name == "_view":
            continue
        branch, data = part
        if branch == "huiliu.salt":
            kind = types[name][1]
            kind = kind["logicalType"] if isinstance(kind, dict) else kind
            named = encoded("string", name) + encoded("string", KINDS.get(kind, kind))
            data = sha256(b"huiliu.field/1", data, named, encoded(types[name], record[name]))
        else:
            assert branch == "huiliu.commitment", branch
        leaves.append(data)
    return sha256(b"huiliu.digest/1", merkle_root(leaves), sha256(b"huiliu.view/1", evidence["_view"], shown))


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

    reader = fastavro.reader(io.BytesIO(body), return_named_type=True)
    schema = json.loads(reader.metadata["avro.schema"])
    canonical = fastavro.schema.to_parsing_canonical_form(schema)
    assert fastavro.schema.fingerprint(canonical, "sha256") == manifest["schema"]["fingerprint"], "fingerprint"

    assert sha256(reader.metadata["avro.schema"].encode()).hex() == manifest["schema"]["digest"], "text of the schema"

    without_digest = copy.deepcopy(schema)
    assert without_digest["fields"].pop()["name"] == "_digest"
    types = {field["name"]: field["type"] for field in without_digest["fields"]}
    if types.pop("_evidence", None):
        without_digest["fields"].pop()
    without_digest = fastavro.parse_schema(without_digest)

    digests, rows = [], []
    for record in reader:
        digest = record.pop("_digest")
        evidence = record.pop("_evidence", None)
        expected = sha256(encoded(without_digest, record))
        if evidence is not None:
            expected = with_evidence(expected, record, evidence[1], types)
        assert expected == digest, "digest of record %d" % (len(rows) + 1)
        digests.append(digest)
        rows.append([plain(value) for value in record.values()])

    assert len(rows) == manifest["body"]["records"], "records"
    assert sum(row[0] == "upsert" for row in rows) == manifest["body"]["upserts"], "upserts"
    assert merkle_root(digests).hex() == manifest["records_root"], "Merkle root"
    json.dump(rows, sys.stdout)


main(*sys.argv[1:])
