package main

import (
	"golang.org/x/crypto/argon2"
)

// An argon says how a passphrase becomes a key (SPEC §12.9).
type argon struct {
	passes, memory int64
	lanes          byte
}

// smallArgon is what nobody should use: the least memory for four lanes.
var smallArgon = argon{1, 32, 4}

// front returns what leads a wrapped key.
func (a argon) front(salt []byte) []byte {
	return concat([]byte{0x13}, u32(a.passes), u32(a.memory), []byte{a.lanes}, salt)
}

// wrap returns a wrapped key with a salt from r.
func (a argon) wrap(passphrase string, dataKey []byte, r *source) []byte {
	salt := r.bytes(16)
	key := argon2.IDKey([]byte(passphrase), salt, uint32(a.passes), uint32(a.memory), a.lanes, 32)
	return concat(a.front(salt), wrapAES(key, dataKey))
}

// wrapArgon2i is wrap with Argon2i.
func (a argon) wrapArgon2i(passphrase string, dataKey []byte, r *source) []byte {
	salt := r.bytes(16)
	key := argon2.Key([]byte(passphrase), salt, uint32(a.passes), uint32(a.memory), a.lanes, 32)
	return concat(a.front(salt), wrapAES(key, dataKey))
}
