"""Reads every test vector of testdata/vectors with reader.py, in both ways, and
checks the tables of keys and sizes."""

import glob
import hashlib
import json
import os
import sys

import reader

KINDS = {"aes-key": reader.AES, "rsa-key": reader.RSA, "hpke-key": reader.HPKE, "passphrase": reader.PASSPHRASE}


def digest(b):
    return str(len(b)), hashlib.sha256(b).hexdigest()


def load(path):
    """Returns a vector's lines, options, header object or None, and payload."""
    with open(path, "rb") as file:
        head, body = file.read().split(b"\n\n", 1)
    lines = [line.split(": ", 1) for line in head.decode().split("\n")]
    one = dict(lines)
    keys = []
    for key, value in lines:
        if key in KINDS:
            digits, _, name = value.partition(" ")
            keys.append((KINDS[key], name, bytes.fromhex(digits)))
    options = reader.Options(
        keys,
        ad=bytes.fromhex(one.get("associated-data", "")),
        require=json.loads(one.get("require-context", "{}")),
        location=one.get("location"),
        any_location="any-location" in one,
        max_header=int(one.get("max-header-size", 65536)),
        max_segment=int(one.get("max-segment-size", 1 << 24)),
    )
    if "header-size" not in one:
        return one, options, None, body
    n = int(one["header-size"])
    return one, options, body[:n], body[n:]


def differences(path):
    one, options, header, payload = load(path)
    released, got, segment = b"", "ok", None
    try:
        h = reader.Header(payload, header, options).unwrap(options)
        for plaintext in reader.sequential(payload, h):
            released += plaintext
        if h.context != json.loads(one.get("context", "{}")) or h.metadata != json.loads(one.get("metadata", "{}")):
            yield f"context {h.context}, metadata {h.metadata}"
    except reader.Refused as e:
        got, segment = e.error_class, e.segment
    if got != one["expect"]:
        yield f"{got}, expected {one['expect']}"
    if segment != (int(one["segment"]) if "segment" in one else None):
        yield f"segment {segment}"
    if digest(released) != (one["released-size"], one["released-sha256"]):
        yield f"released {len(released)} bytes"

    got, expected = "ok", one.get("expect-random", one["expect"])
    try:
        plaintext = reader.random_access(payload, reader.Header(payload, header, options).unwrap(options))
        if digest(plaintext) != (one["plaintext-size"], one["plaintext-sha256"]):
            yield f"random access: {len(plaintext)} bytes"
    except reader.Refused as e:
        got = e.error_class
    if got != expected:
        yield f"random access: {got}, expected {expected}"


def key_schedules(directory):
    """Checks keyschedule.json and yields what differs; its entries are counted
    by the caller."""
    with open(os.path.join(directory, "keyschedule.json")) as file:
        tables = json.load(file)
    h = bytes.fromhex
    for n, t in enumerate(tables):
        prelude = h(t["prelude"])
        keys = reader.Keys(h(t["data_key"]), prelude, h(t["associated_data"]))
        front = reader.MAGIC + bytes([1, t["suite"], t["k"], t["flags"]]) + h(t["iv"])
        for what, got, expected in (
            ("prelude", prelude, front + keys.commitment),
            ("commitment", keys.commitment, h(t["commitment"])),
            ("header key", keys.header, h(t["header_key"])),
            ("meta key", keys.metadata, h(t["meta_key"])),
            ("stream key", keys.stream, h(t["stream_key"])),
        ):
            yield got == expected, f"key schedule {n}: {what}"
        for e in t["epochs"]:
            i = int(e["index"])
            epoch = i >> min(20, 36 - t["k"])
            yield (keys.epoch(i), epoch) == (h(e["key"]), int(e["epoch"])), f"key schedule {n}: segment {i}"
        for e in t["segments"]:
            got = keys.segment(int(e["index"]), e["final"], h(e["stored"]))
            yield got == h(e["plaintext"]), f"key schedule {n}: sealed segment {e['index']}"


def sizes(directory):
    """Checks sizes.json likewise."""
    with open(os.path.join(directory, "sizes.json")) as file:
        tables = json.load(file)

    def numbers(e):
        return {key: int(value) for key, value in e.items()}

    for e in map(numbers, tables["sizes"]):
        yield reader.stored_size(e["p"], e["k"], e["plaintext"]) == e["stored"] < 2**63, f"sizes: {e}"
    for e in map(numbers, tables["too_large"]):
        yield reader.stored_size(e["p"], e["k"], e["plaintext"]) >= 2**63, f"too large: {e}"
    for e in map(numbers, tables["invalid"]):
        size = e["stored"] - e["p"]
        yield size < 0 or size % ((1 << e["k"]) + 28) < 28, f"invalid: {e}"
    for e in map(numbers, tables["ranges"]):
        k, p, segment = e["k"], e["p"], (1 << e["k"]) + 28
        first, end = e["from"] >> k, (e["to"] - 1 >> k) + 1
        stop = min(p + end * segment, reader.stored_size(p, k, e["size"]))
        yield (first, end, p + first * segment, stop) == (e["first"], e["end"], e["start"], e["stop"]), f"range: {e}"


def main(directory):
    """Returns how many differences there are, after printing them."""
    paths = sorted(glob.glob(os.path.join(directory, "*.vec")))
    bad = [f"{os.path.basename(path)}: {what}" for path in paths for what in differences(path)]
    entries = [*key_schedules(directory), *sizes(directory)]
    bad += [what for good, what in entries if not good]
    for what in bad:
        print(what)
    print(f"{len(paths)} vectors, {len(entries)} entries of tables, {len(bad)} differences")
    return len(bad) if paths and entries else 1


if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1]) else 0)
