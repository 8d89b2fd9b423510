"""Recomputes the roots of a statement from the rows of a receiver's SQLite table, with nothing of ours.

Usage: read_statement.py STATEMENT DATABASE. Believes the table's _digest column, which huiliu does not; the point here is
the arithmetic of ranges. Prints the root.
"""

import hashlib
import json
import sqlite3
import struct
import sys


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def root(leaves):
    """RFC 6962, section 2.1, over leaves that are hashed already."""
    if not leaves:
        return sha256()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return sha256(b"\1", root(leaves[:split]), root(leaves[split:]))


def entry(key, n, digest):
    return sha256(b"\0", struct.pack(">qq", key, n), digest)


def summed(entries, bits):
    """[(key, n, digest)] into [(first number, records, root)] of ranges that wide."""
    ranges = {}
    for one in entries:
        ranges.setdefault(one[0] >> bits << bits, []).append(one)
    return [(first, inside, root([entry(*one) for one in inside])) for first, inside in sorted(ranges.items())]


def main(statement_path, database):
    statement = json.load(open(statement_path, encoding="utf-8"))
    rows = sqlite3.connect(database).execute(
        f'select _id, _version, _digest from "{statement["register"]}" order by _id').fetchall()
    ranges = [(first, len(inside), value) for first, inside, value in summed(rows, 6)]
    for bits in range(12, statement["range_bits"] + 1, 6):
        ranges = [(first, sum(part[1] for part in inside), value) for first, inside, value in summed(ranges, bits)]
    assert [[first, n, value.hex()] for first, n, value in ranges] == statement["ranges"], "ranges"
    assert len(rows) == statement["records"], "records"
    total = root([entry(*one) for one in ranges]).hex()
    assert total == statement["root"], "root"
    print(total)


main(*sys.argv[1:])
