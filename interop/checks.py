"""The checks that ./run makes, each against a program that knows nothing of
Bulla or against reader.py and writer.py. The argument is a directory with the
programs interop and bulla, for scratch files."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
import urllib.request

from cryptography.hazmat.primitives import hashes, hpke, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, x25519
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.keywrap import aes_key_wrap

import hpkekeys
import reader
import vectors
import writer

NAME = "interop"
SCRATCH = sys.argv[1]
PLAINTEXT = secrets.token_bytes(200_000)
KWIV = "A6" * 8


class Skipped(Exception):
    pass


def path(name, content=None):
    """The path of a scratch file, which is written if there is content."""
    p = os.path.join(SCRATCH, name)
    if content is not None:
        with open(p, "wb") as file:
            file.write(content)
    return p


def run(*command, data=b""):
    done = subprocess.run(command, input=data, capture_output=True, timeout=60)
    if done.returncode:
        raise AssertionError(f"{' '.join(command[:3])}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def openssl(*args, data=b""):
    if not shutil.which("openssl"):
        raise Skipped("the openssl command is not installed")
    return run("openssl", *args, data=data)


def library(*args, data=b""):
    return run(path("interop"), *args, data=data)


def equal(got, expected, what):
    if got != expected:
        raise AssertionError(f"{what} differs")


def wrapped_key(stream, kind):
    """The one wrapped key of a stream, and its header."""
    h = reader.Header(stream, None, reader.Options([]))
    [(its_kind, _, wrapped)] = h.wrapped_keys
    equal(its_kind, kind, "the type of the wrapped key")
    return wrapped, h


def reads(stream, *keys):
    """Reads a stream of PLAINTEXT with reader.py, in both ways."""
    o = reader.Options(keys)
    h = reader.Header(stream, None, o).unwrap(o)
    equal(b"".join(reader.sequential(stream, h)), PLAINTEXT, "the plaintext")
    equal(reader.random_access(stream, h), PLAINTEXT, "the plaintext of random access")


def der(private):
    return private.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def pem(private):
    return private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def public_pem(private):
    return private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def check_vectors():
    equal(vectors.main(os.path.join("..", "testdata", "vectors")), 0, "the number of differences")


def check_library_writes():
    """The library encrypts, reader.py reads: every type and KEM, both suites."""
    key = secrets.token_bytes(32)
    for suite in "aes", "chacha":
        reads(library("encrypt", "-suite", suite, "aes=" + path("aes", key), data=PLAINTEXT), (reader.AES, NAME, key))
    for bits in 2048, 3072, 4096:
        private = rsa.generate_private_key(65537, bits)
        stream = library("encrypt", "rsa=" + path("rsa.pem", public_pem(private)), data=PLAINTEXT)
        reads(stream, (reader.RSA, NAME, der(private)))
    for kem in hpkekeys.ENC:
        key = kem.to_bytes(2, "big") + secrets.token_bytes(32)
        reads(library("encrypt", "hpke=" + path("hpke", key), data=PLAINTEXT), (reader.HPKE, NAME, key))
    stream = library("encrypt", "passphrase=" + path("passphrase", "sésame 🔑".encode()), data=PLAINTEXT)
    reads(stream, (reader.PASSPHRASE, NAME, "sésame 🔑".encode()))


def check_library_reads():
    """writer.py encrypts, the library reads."""

    def library_reads(data_key, kind, wrapped, key):
        for suite in 1, 2:
            stream = writer.write(data_key, [(kind, NAME, wrapped)], PLAINTEXT, suite)
            equal(library("decrypt", key, data=stream), PLAINTEXT, "the plaintext")

    data_key, key = secrets.token_bytes(32), secrets.token_bytes(32)
    library_reads(data_key, reader.AES, aes_key_wrap(key, data_key), "aes=" + path("aes", key))

    private = rsa.generate_private_key(65537, 2048)
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    wrapped = private.public_key().encrypt(data_key, oaep)
    library_reads(data_key, reader.RSA, wrapped, "rsa=" + path("rsa.pem", pem(private)))

    salt = secrets.token_bytes(16)
    derived = Argon2id(salt=salt, length=32, iterations=2, lanes=3, memory_cost=1000).derive(b"open sesame")
    front = b"\x13" + (2).to_bytes(4, "big") + (1000).to_bytes(4, "big") + b"\x03" + salt
    library_reads(data_key, reader.PASSPHRASE, front + aes_key_wrap(derived, data_key), "passphrase=" + path("passphrase", b"open sesame"))

    for kem, kind, private in (
        (hpkekeys.X25519, hpke.KEM.X25519, x25519.X25519PrivateKey.generate()),
        (hpkekeys.P256, hpke.KEM.P256, ec.generate_private_key(ec.SECP256R1())),
    ):
        suite = hpke.Suite(kind, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
        ids = kem.to_bytes(2, "big") + b"\x00\x01\x00\x02"
        if kem == hpkekeys.X25519:
            raw = private.private_bytes_raw()
        else:
            raw = private.private_numbers().private_value.to_bytes(32, "big")
        wrapped = ids + suite.encrypt(data_key, private.public_key(), hpkekeys.INFO)
        library_reads(data_key, reader.HPKE, wrapped, "hpke=" + path("hpke", ids[:2] + raw))

    for kem, kind in (hpkekeys.MLKEM768_X25519, hpke.KEM.MLKEM768_X25519), (hpkekeys.MLKEM1024_P384, hpke.KEM.MLKEM1024_P384):
        seed = secrets.token_bytes(32)
        public = hpkekeys.hybrid_key(kem, seed).public_key()
        suite = hpke.Suite(kind, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
        ids = kem.to_bytes(2, "big") + b"\x00\x01\x00\x02"
        wrapped = ids + suite.encrypt(data_key, public, hpkekeys.INFO)
        library_reads(data_key, reader.HPKE, wrapped, "hpke=" + path("hpke", ids[:2] + seed))


OAEP = ["-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:sha256", "-pkeyopt", "rsa_mgf1_md:sha256"]


def check_openssl_rsa():
    """OpenSSL makes RSA keys in its forms of PEM, unwraps and wraps."""
    private = path("openssl.pem")
    for bits in 2048, 3072:
        openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", f"rsa_keygen_bits:{bits}", "-out", private)
        openssl("rsa", "-in", private, "-traditional", "-out", path("traditional.pem"))
        openssl("rsa", "-in", private, "-pubout", "-out", path("public.pem"))
        openssl("rsa", "-in", private, "-RSAPublicKey_out", "-out", path("pkcs1.pem"))
        openssl("req", "-new", "-x509", "-key", private, "-subj", "/CN=bulla", "-days", "1", "-out", path("certificate.pem"))
        for public in "public.pem", "pkcs1.pem", "certificate.pem":
            wrapped, h = wrapped_key(library("encrypt", "rsa=" + path(public), data=PLAINTEXT), reader.RSA)
            h.authenticate(openssl("pkeyutl", "-decrypt", "-inkey", private, *OAEP, data=wrapped))
        for form in "openssl.pem", "traditional.pem":
            data_key = secrets.token_bytes(32)
            wrapped = openssl("pkeyutl", "-encrypt", "-pubin", "-inkey", path("public.pem"), *OAEP, data=data_key)
            stream = writer.write(data_key, [(reader.RSA, NAME, wrapped)], PLAINTEXT)
            equal(library("decrypt", "rsa=" + path(form), data=stream), PLAINTEXT, "the plaintext")


def check_openssl_aes():
    """OpenSSL unwraps and wraps with AES key wrap."""
    key, data_key = secrets.token_bytes(32), secrets.token_bytes(32)
    kw = ["enc", "-id-aes256-wrap", "-K", key.hex(), "-iv", KWIV]
    wrapped, h = wrapped_key(library("encrypt", "aes=" + path("aes", key), data=PLAINTEXT), reader.AES)
    h.authenticate(openssl(*kw, "-d", data=wrapped))
    stream = writer.write(data_key, [(reader.AES, NAME, openssl(*kw, data=data_key))], PLAINTEXT)
    equal(library("decrypt", "aes=" + path("aes"), data=stream), PLAINTEXT, "the plaintext")


def check_kms():
    """The bulla command and moto's KMS; boto3 unwraps and wraps."""
    try:
        import boto3
        import moto.server  # noqa: F401
    except ImportError as e:
        raise Skipped(f"moto is not installed: {e}") from None
    os.environ.update(
        AWS_ACCESS_KEY_ID="interop",
        AWS_SECRET_ACCESS_KEY="interop",
        AWS_REGION="eu-central-1",
        AWS_CONFIG_FILE=os.devnull,
        AWS_SHARED_CREDENTIALS_FILE=os.devnull,
        AWS_EC2_METADATA_DISABLED="true",
        no_proxy="127.0.0.1",
        NO_PROXY="127.0.0.1",
    )
    with Server() as url:
        client = boto3.client("kms", endpoint_url=url, region_name="eu-central-1")
        arn = client.create_key()["KeyMetadata"]["Arn"]
        kms = ["--kms", arn, "--kms-endpoint-url", url]
        context = {"tenant": "a", "purpose": "interop"}
        pairs = [f for key, value in context.items() for f in ("--context", f"{key}={value}")]
        path("plaintext", PLAINTEXT)
        run(path("bulla"), "encrypt", *kms, *pairs, "-o", path("stream"), path("plaintext"))
        run(path("bulla"), "decrypt", *kms, "-o", path("decrypted"), path("stream"))
        with open(path("decrypted"), "rb") as file:
            equal(file.read(), PLAINTEXT, "the plaintext")
        with open(path("stream"), "rb") as file:
            wrapped, h = wrapped_key(file.read(), 3)
        equal(h.context, context, "the context")
        h.authenticate(client.decrypt(CiphertextBlob=wrapped, EncryptionContext=context)["Plaintext"])

        made = client.generate_data_key(KeyId=arn, NumberOfBytes=32, EncryptionContext=context)
        stream = writer.write(made["Plaintext"], [(3, arn, made["CiphertextBlob"])], PLAINTEXT, context=context)
        path("stream", stream)
        os.remove(path("decrypted"))
        run(path("bulla"), "decrypt", *kms, "-o", path("decrypted"), path("stream"))
        with open(path("decrypted"), "rb") as file:
            equal(file.read(), PLAINTEXT, "the plaintext of a data key that boto3 got")


class Server:
    """moto's server on a free port of the loopback interface."""

    def __enter__(self):
        with open(path("moto.log"), "wb") as log:
            command = [sys.executable, "-u", "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self.process.poll() is None:
            with open(path("moto.log")) as log:
                for word in log.read().split():
                    if word.startswith("http://127.0.0.1:"):
                        urllib.request.urlopen(word + "/moto-api/", timeout=10).close()
                        return word
            time.sleep(0.05)
        self.__exit__()
        raise Skipped("moto's server does not start")

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def main():
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for check in check_vectors, check_library_writes, check_library_reads, check_openssl_rsa, check_openssl_aes, check_kms:
        start = time.monotonic()
        try:
            check()
            result, why = "passed", ""
        except Skipped as e:
            result, why = "SKIPPED", f": {e}"
        except Exception as e:
            result, why = "FAILED", f": {e!r}"
        counts[result.lower()] += 1
        print(f"{check.__name__.removeprefix('check_')}: {result}{why} ({time.monotonic() - start:.1f} s)", flush=True)
    print(", ".join(f"{n} {result}" for result, n in counts.items()))
    return 1 if counts["failed"] or not counts["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
