"""Verifies the SM2 signature of a batch with gmssl and nothing of ours: content → SM3 → signed attributes → signature.

Usage: verify_sm2.py SIGNATURE MANIFEST.
"""

import sys

from asn1crypto import cms, core
from gmssl import func, sm2, sm3

IDENTITY = "31323334353637383132333435363738"  # 1234567812345678


class Pair(core.Sequence):
    _fields = [("r", core.Integer), ("s", core.Integer)]


def digest(data):
    return bytes.fromhex(sm3.sm3_hash(func.bytes_to_list(data)))


def main(signature_path, manifest_path):
    manifest = open(manifest_path, "rb").read()
    signed = cms.ContentInfo.load(open(signature_path, "rb").read())["content"]
    (signer,) = signed["signer_infos"]
    assert signer["digest_algorithm"]["algorithm"].dotted == "1.2.156.10197.1.401", "SM3"
    attributes = {attribute["type"].native: attribute["values"][0] for attribute in signer["signed_attrs"]}
    assert attributes["message_digest"].native == digest(manifest), "digest of the manifest"

    certificate = signed["certificates"][0].chosen
    point = certificate["tbs_certificate"]["subject_public_key_info"]["public_key"].native
    assert len(point) == 65 and point[0] == 4, "an uncompressed point"
    pair = Pair.load(signer["signature"].native)
    value = "%064x%064x" % (pair["r"].native, pair["s"].native)
    # The signature is over the attributes as a SET.
    attributes = b"\x31" + signer["signed_attrs"].dump()[1:]
    checker = sm2.CryptSM2(private_key="", public_key=point[1:].hex(), asn1=False)
    z = (
        "0080" + IDENTITY
        + "FFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFC"
        + "28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93"
        + "32C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7"
        + "BC3736A2F4F6779C59BDCEE36B692153D0A9877CC62A474002DF32E52139F0A0"
        + point[1:].hex()
    )
    e = digest(digest(bytes.fromhex(z)) + attributes)
    assert checker.verify(value, e), "signature"
    print("signature holds")


main(*sys.argv[1:])
