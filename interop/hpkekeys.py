"""Unwraps data keys of type 0004 (SPEC §12.8). Python's cryptography package
has HPKE for four of the KEMs; MLKEM768-P256 is put together here from its
parts, as the specification says. A failure is a ValueError."""

import hashlib
import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke, serialization
from cryptography.hazmat.primitives.asymmetric import ec, mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

X25519, P256, MLKEM768_X25519, MLKEM768_P256, MLKEM1024_P384 = 0x0020, 0x0010, 0x647A, 0x0050, 0x0051
ENC = {X25519: 32, P256: 65, MLKEM768_X25519: 1120, MLKEM768_P256: 1153, MLKEM1024_P384: 1665}
INFO = b"bulla/v1\0wrap"


def curve_key(curve, stream, size):
    """The first of a stream of private keys that is one."""
    while True:
        scalar, stream = stream[:size], stream[size:]
        try:
            return ec.derive_private_key(int.from_bytes(scalar, "big"), curve)
        except ValueError:
            continue


def hybrid_key(kem, seed):
    """The private key of a hybrid: ML-KEM's and the curve's."""
    seeds = hashlib.shake_256(seed).digest(64 + 1024)
    if kem == MLKEM768_X25519:
        pq, t = mlkem.MLKEM768PrivateKey.from_seed_bytes(seeds[:64]), x25519.X25519PrivateKey.from_private_bytes(seeds[64:96])
        return hpke.MLKEM768X25519PrivateKey(pq, t)
    pq, t = mlkem.MLKEM1024PrivateKey.from_seed_bytes(seeds[:64]), curve_key(ec.SECP384R1(), seeds[64:], 48)
    return hpke.MLKEM1024P384PrivateKey(pq, t)


def unwrap(kem, private, wrapped):
    ids, sealed = wrapped[:6], wrapped[6:]
    if len(sealed) != ENC[kem] + 48 or ids != kem.to_bytes(2, "big") + b"\x00\x01\x00\x02":
        raise ValueError("another kind of wrapped key")
    if kem == MLKEM768_P256:
        return open_base(mlkem768_p256(private, sealed[: ENC[kem]]), ids, sealed[ENC[kem] :])
    if kem == X25519:
        kind, key = hpke.KEM.X25519, x25519.X25519PrivateKey.from_private_bytes(private)
    elif kem == P256:
        kind, key = hpke.KEM.P256, ec.derive_private_key(int.from_bytes(private, "big"), ec.SECP256R1())
    elif kem == MLKEM768_X25519:
        kind, key = hpke.KEM.MLKEM768_X25519, hybrid_key(kem, private)
    else:
        kind, key = hpke.KEM.MLKEM1024_P384, hybrid_key(kem, private)
    suite = hpke.Suite(kind, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
    try:
        return suite.decrypt(sealed, key, INFO)
    except InvalidTag:
        raise ValueError("does not open") from None


def mlkem768_p256(seed, enc):
    """The shared secret of MLKEM768-P256."""
    seeds = hashlib.shake_256(seed).digest(64 + 1024)
    pq, key = mlkem.MLKEM768PrivateKey.from_seed_bytes(seeds[:64]), curve_key(ec.SECP256R1(), seeds[64:], 32)
    point = enc[1088:]
    x = key.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point))
    own = key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    return hashlib.sha3_256(pq.decapsulate(enc[:1088]) + x + point + own + b"MLKEM768-P256").digest()


def open_base(secret, ids, sealed):
    """RFC 9180 §5.1 in base mode, with HKDF-SHA256 and AES-256-GCM."""

    def extract(salt, label, ikm):
        return hmac.digest(salt, b"HPKE-v1HPKE" + ids + label + ikm, "sha256")

    def expand(label, size):
        info = size.to_bytes(2, "big") + b"HPKE-v1HPKE" + ids + label + context
        return hmac.digest(prk, info + b"\x01", "sha256")[:size]

    context = b"\0" + extract(b"", b"psk_id_hash", b"") + extract(b"", b"info_hash", INFO)
    prk = extract(secret, b"secret", b"")
    try:
        return AESGCM(expand(b"key", 32)).decrypt(expand(b"base_nonce", 12), sealed, b"")
    except InvalidTag:
        raise ValueError("does not open") from None
