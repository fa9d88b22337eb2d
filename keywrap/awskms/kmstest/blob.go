package kmstest

import (
	"encoding/binary"
	"maps"
	"slices"
)

// A ciphertext blob is
//
//	01 | key id size u8 | key id | key material id [32] | nonce [12] | ciphertext | tag [16]
//
// sealed with AES-256-GCM under that key material. The associated data is
// everything before the nonce, followed by the encryption context.
const (
	blobVersion  = 1
	sealOverhead = 12 + 16
	maxBlobSize  = 6144
	maxPlaintext = 4096
)

// seal returns the plaintext as a blob of k's current key material.
func (k *key) seal(plaintext []byte, context map[string]string) []byte {
	v := k.currentVersion()
	head := append([]byte{blobVersion, byte(len(k.id))}, k.id...)
	head = append(head, v.id[:]...)
	return v.aead.Seal(slices.Clip(head), nil, plaintext, appendContext(slices.Clip(head), context))
}

// A blob is a ciphertext blob taken apart.
type blob struct {
	keyID    string
	material [32]byte
	head     []byte // everything before the nonce
	sealed   []byte // nonce, ciphertext and tag
}

func parseBlob(b []byte) (p blob, ok bool) {
	if len(b) < 2 || b[0] != blobVersion {
		return p, false
	}
	end := 2 + int(b[1]) + len(p.material)
	if len(b) < end+sealOverhead {
		return p, false
	}
	p.keyID = string(b[2 : 2+b[1]])
	copy(p.material[:], b[2+b[1]:end])
	p.head, p.sealed = b[:end:end], b[end:]
	return p, true
}

// open returns the plaintext of a blob that names k.
func (k *key) open(p *blob, context map[string]string) ([]byte, *version, bool) {
	v := k.find(p.material)
	if v == nil {
		return nil, nil, false
	}
	plaintext, err := v.aead.Open(nil, nil, p.sealed, appendContext(p.head, context))
	return plaintext, v, err == nil
}

// appendContext appends the canonical form of an encryption context: its pairs
// ascending by key, every key and value behind its size as u32. The empty
// context adds nothing.
func appendContext(dst []byte, context map[string]string) []byte {
	for _, k := range slices.Sorted(maps.Keys(context)) {
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(k)))
		dst = append(dst, k...)
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(context[k])))
		dst = append(dst, context[k]...)
	}
	return dst
}
