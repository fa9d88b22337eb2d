"""A reader of Bulla streams that was made from SPEC.md alone, on Python's
cryptography package: it shares no code with the library. It is slow, keeps
streams in memory, and is for checks only."""

import hashlib
import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap

import hpkekeys

MAGIC = b"\x89BUL\r\n\x1a\n"
UNKNOWN = 2**64 - 1
CONTEXT, METADATA, LOCATION = 0x8001, 0x0002, 0x8003
AES, RSA, HPKE, PASSPHRASE = 1, 2, 4, 5


class Refused(Exception):
    """Reading ended with a class of SPEC §11."""

    def __init__(self, error_class, segment=None):
        super().__init__(error_class)
        self.error_class, self.segment = error_class, segment


class Options:
    """What the caller of a reader gives: keys are (type, name, bytes), the
    bytes as in the lines of a test vector."""

    def __init__(self, keys, ad=b"", require=None, location=None, any_location=False, max_header=65536, max_segment=1 << 24):
        self.keys, self.ad, self.require = keys, ad, require or {}
        self.location, self.any_location = location, any_location
        self.max_header, self.max_segment = max_header, max_segment


def number(b):
    return int.from_bytes(b, "big")


def check(condition, error_class):
    if not condition:
        raise Refused(error_class)


def text(b):
    try:
        return b.decode()
    except UnicodeDecodeError:
        raise Refused("malformed") from None


class Fields:
    """Takes fields from the front of bytes."""

    def __init__(self, b):
        self.rest = b

    def take(self, n):
        check(n <= len(self.rest), "malformed")
        field, self.rest = self.rest[:n], self.rest[n:]
        return field

    def number(self, n):
        return number(self.take(n))


def pair_list(b):
    """SPEC §3.4."""
    f, pairs, before = Fields(b), {}, b""
    check(b, "malformed")
    while f.rest:
        key = f.take(f.number(2))
        value = f.take(f.number(2))
        check(key > before, "malformed")
        before = key
        pairs[text(key)] = text(value)
    return pairs


def stored_size(start, k, n):
    """SPEC §7.1."""
    return start + (n >> k) * ((1 << k) + 28) + n % (1 << k) + 28


def expand(key, info, size):
    """HKDF-Expand-SHA-512, SPEC §2.3."""
    return hmac.digest(key, info + b"\x01", "sha512")[:size]


class Keys:
    """SPEC §4."""

    def __init__(self, data_key, prelude, ad):
        self.suite, self.k = prelude[9], prelude[10]
        for label, size in ("commitment", 32), ("header", 32), ("metadata", 32), ("stream", 64):
            info = b"bulla/v1\0" + label.encode() + b"\0" + prelude[:44] + hashlib.sha256(ad).digest()
            setattr(self, label, expand(data_key, info, size))

    def epoch(self, i):
        e = i >> min(20, 36 - self.k)
        return expand(self.stream, b"bulla/v1\0epoch\0" + e.to_bytes(8, "big"), 32)

    def open(self, key, sealed, ad, error):
        aead = (AESGCM if self.suite == 1 else ChaCha20Poly1305)(key)
        try:
            return aead.decrypt(sealed[:12], sealed[12:], ad)
        except InvalidTag:
            raise error from None

    def segment(self, i, final, sealed):
        return self.open(self.epoch(i), sealed, i.to_bytes(8, "big") + bytes([final]), Refused("auth-segment", i))


def unwrap_aes(key, wrapped):
    check(len(wrapped) == 40, "unwrap")
    try:
        return aes_key_unwrap(key, wrapped)
    except InvalidUnwrap:
        raise Refused("unwrap") from None


def unwrap_rsa(key, wrapped):
    private = serialization.load_der_private_key(key, None)
    check(len(wrapped) == private.key_size // 8, "unwrap")
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    try:
        return private.decrypt(wrapped, oaep)
    except ValueError:
        raise Refused("unwrap") from None


def unwrap_hpke(key, wrapped):
    try:
        return hpkekeys.unwrap(number(key[:2]), key[2:], wrapped)
    except ValueError:
        raise Refused("unwrap") from None


def unwrap_passphrase(passphrase, wrapped):
    check(len(wrapped) == 66 and wrapped[0] == 0x13, "unwrap")
    passes, memory, lanes = number(wrapped[1:5]), number(wrapped[5:9]), wrapped[9]
    check(passes >= 1 and lanes >= 1 and memory >= 8 * lanes, "unwrap")
    check(passes <= 16 and memory <= 1 << 20 and lanes <= 16, "too-large")
    kdf = Argon2id(salt=wrapped[10:26], length=32, iterations=passes, lanes=lanes, memory_cost=memory)
    return unwrap_aes(kdf.derive(passphrase), wrapped[26:])


UNWRAP = {AES: unwrap_aes, RSA: unwrap_rsa, HPKE: unwrap_hpke, PASSPHRASE: unwrap_passphrase}


def unwrap(wrapped_keys, keys):
    """SPEC §9.1, step 8."""
    noted = set()
    for kind, name, wrapped in wrapped_keys:
        for have, its_name, key in keys:
            if have != kind or kind != PASSPHRASE and its_name != name:
                continue
            try:
                data_key = UNWRAP[kind](key, wrapped)
                check(len(data_key) == 32, "unwrap")
                return data_key
            except Refused as e:
                noted.add(e.error_class)
    for error_class in "too-large", "unwrap":
        check(error_class not in noted, error_class)
    raise Refused("no-key")


def parse_prelude(b):
    check(b[:8] == MAGIC, "not-stream")
    check(len(b) >= 76, "truncated")
    check(b[8] == 1 and b[9] in (1, 2), "unsupported")
    check(12 <= b[10] <= 24 and b[11] < 4, "malformed")


class Header:
    """The header of a stream, read in the order of SPEC §9.1: steps 1 to 7
    here, the others in unwrap and authenticate."""

    def __init__(self, payload, header, o):
        parse_prelude(payload)
        check(1 << payload[10] <= o.max_segment, "too-large")
        check(payload[11] & 1 == (header is not None) and payload[11] >> 1 == bool(o.ad), "policy")
        if header is not None:
            parse_prelude(header)
            check(header[:76] == payload[:76], "auth-header")
        b = payload if header is None else header
        check(len(b) >= 80, "truncated")
        size = number(b[76:80])
        check(135 <= size <= 65536, "malformed")
        check(size <= o.max_header, "too-large")
        check(len(b) >= size, "truncated")
        check(header is None or len(b) == size, "malformed")
        self.bytes, self.k = b[:size], b[10]
        self.start = size if header is None else 76  # of segment 0
        self.parse()
        for key, value in o.require.items():
            check(self.context.get(key) == value, "context")
        check(self.location is None or o.any_location or self.location == o.location, "policy")

    def unwrap(self, o):
        """Step 8, and the rest."""
        self.authenticate(unwrap(self.wrapped_keys, o.keys), o.ad)
        return self

    def authenticate(self, data_key, ad=b""):
        """Steps 9 to 11."""
        self.keys = Keys(data_key, self.bytes, ad)
        check(hmac.compare_digest(self.keys.commitment, self.bytes[44:76]), "auth-commitment")
        mac = hmac.digest(self.keys.header, self.bytes[:-32], "sha256")
        check(hmac.compare_digest(mac, self.bytes[-32:]), "auth-header")
        self.metadata = {}
        if self.sealed is not None:
            self.metadata = pair_list(self.keys.open(self.keys.metadata, self.sealed, b"", Refused("auth-metadata")))
        return self

    def parse(self):
        f = Fields(self.bytes[80:-32])
        self.generation, self.size = f.number(4), f.number(8)
        check(self.size == UNKNOWN or stored_size(self.start, self.k, self.size) < 2**63, "malformed")
        count = f.number(2)
        check(1 <= count <= 32, "malformed")
        self.wrapped_keys = []
        for _ in range(count):
            kind, name, wrapped = f.number(2), f.take(f.number(2)), f.take(f.number(2))
            check(kind and len(name) <= 1024 and wrapped, "malformed")
            check(not any(c < 0x20 or c == 0x7F for c in name), "malformed")
            self.wrapped_keys.append((kind, text(name), wrapped))
        count, before = f.number(2), 0
        check(count <= 32, "malformed")
        self.context, self.location, self.sealed = {}, None, None
        for _ in range(count):
            kind, value = f.number(2), f.take(f.number(4))
            check(kind & 0x7FFF and kind > before, "malformed")
            before = kind
            if kind == CONTEXT:
                self.context = pair_list(value)
            elif kind == LOCATION:
                check(value, "malformed")
                self.location = text(value)
            elif kind == METADATA:
                check(len(value) >= 29, "malformed")
                self.sealed = value
            else:
                check(kind < 0x8000, "unsupported")
        check(not any(f.rest), "malformed")


def sequential(payload, h):
    """Yields the plaintext, segment by segment (SPEC §9.2)."""
    size, known, q = (1 << h.k) + 28, h.size != UNKNOWN, h.size >> h.k
    i, final = 0, False
    while not final:
        at = h.start + i * size
        sealed = payload[at : at + size]
        if known:
            final = i == q
            expected = h.size % (1 << h.k) + 28 if final else size
            check(len(sealed) >= expected, "truncated")
            check(len(sealed) == expected, "size-mismatch")
        else:
            check(len(sealed) >= 28, "truncated")
            final = len(sealed) < size
        yield h.keys.segment(i, final, sealed)
        i += 1


def random_access(payload, h):
    """Returns the plaintext, its segments from the end to the front (SPEC
    §9.3)."""
    size, n = (1 << h.k) + 28, h.size
    if n != UNKNOWN:
        expected = stored_size(h.start, h.k, n)
        check(len(payload) >= expected, "truncated")
        check(len(payload) == expected, "size-mismatch")
    q, r = divmod(len(payload) - h.start, size)
    check(q >= 0 and r >= 28, "truncated")
    segments = [h.keys.segment(i, i == q, payload[h.start + i * size :][:size]) for i in reversed(range(q + 1))]
    return b"".join(reversed(segments))
