"""A writer of Bulla streams that was made from SPEC.md alone, for data keys that
other programs have wrapped. It is for checks only."""

import hmac
import secrets

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

import reader


def write(data_key, wrapped_keys, plaintext, suite=1, k=12, context=None):
    """Returns a stream. Wrapped keys are (type, name, bytes); context is a
    dictionary."""
    size = 1 << k
    front = reader.MAGIC + bytes([1, suite, k, 0]) + secrets.token_bytes(32)
    keys = reader.Keys(data_key, front, b"")
    body = bytes(4) + len(plaintext).to_bytes(8, "big")
    body += len(wrapped_keys).to_bytes(2, "big")
    for kind, name, wrapped in wrapped_keys:
        body += kind.to_bytes(2, "big") + field(name.encode()) + field(wrapped)
    extensions = b""
    if context:
        pairs = b"".join(field(a) + field(b) for a, b in sorted((a.encode(), b.encode()) for a, b in context.items()))
        extensions = reader.CONTEXT.to_bytes(2, "big") + len(pairs).to_bytes(4, "big") + pairs
    body += bool(extensions).to_bytes(2, "big") + extensions
    header = front + keys.commitment + (76 + 4 + len(body) + 32).to_bytes(4, "big") + body
    header += hmac.digest(keys.header, header, "sha256")
    segments = []
    for i in range(len(plaintext) // size + 1):
        final = i == len(plaintext) // size
        nonce = secrets.token_bytes(12)
        aead = (AESGCM if suite == 1 else ChaCha20Poly1305)(keys.epoch(i))
        part = plaintext[i * size : (i + 1) * size]
        segments += [nonce, aead.encrypt(nonce, part, i.to_bytes(8, "big") + bytes([final]))]
    return header + b"".join(segments)


def field(b):
    return len(b).to_bytes(2, "big") + b
