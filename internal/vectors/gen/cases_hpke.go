package main

import (
	"bytes"
	"fmt"
)

func (v *vector) addHPKE(name string, h hpke) {
	private := h.kem.newKey(v.random)
	v.addWrapped(wrappedKey{4, name, h.wrap(private, v.dataKey, v.random)}, keyHPKE, h.kem.keyLine(private))
}

// rewrap wraps data for the reader's key by another HPKE than SPEC §12.8.
func (v *vector) rewrapHPKE(h hpke, data []byte) {
	v.keys[0].data = h.wrap(v.readerKeys[0].key[2:], data, v.random)
}

func (c *set) hpkeValid() {
	for _, k := range kems {
		c.addKeys("hpke_"+k.name, "ok", fmt.Sprintf("Type 0004, KEM %04x.", k.id), func(v *vector) { v.addHPKE("partner", newHPKE(k)) })
	}
	c.addKeys("hpke_same_name", "ok", "Two wrapped keys have the same name; the first is for another KEM.", func(v *vector) {
		v.addHPKE("partner", newHPKE(kemMLKEM768X25519))
		v.addHPKE("partner", newHPKE(kemX25519))
		v.readerKeys = v.readerKeys[1:]
	})
	c.addKeys("hpke_most", "ok", "32 wrapped keys of the largest kind; the reader has the key of the one at the end.", func(v *vector) {
		for i := range 32 {
			v.addHPKE(fmt.Sprintf("partner %d", i), newHPKE(kemMLKEM1024P384))
		}
		v.readerKeys = v.readerKeys[31:]
	})
}

func (c *set) hpkeFaults() {
	add := func(k *kem, name, expect, description string, setup func(v *vector)) {
		c.addKeys("hpke_"+name, expect, description, func(v *vector) {
			v.addHPKE("partner", newHPKE(k))
			setup(v)
		})
	}
	for _, f := range []struct {
		kem *kem
		enc int
	}{{kemMLKEM768X25519, 1120}, {kemMLKEM1024P384, 1665}, {kemMLKEM768P256, 1153}, {kemX25519, 32}, {kemP256, 65}} {
		n := 6 + f.enc + 48
		changes := append(flipped(0, 1, 2, 3, 4, 5, 6, 6+f.enc/2, 6+f.enc-1, 6+f.enc, n-17, n-16, n-1), resized(n, 1, 6, 6+f.enc, n-1, n+1)...)
		if f.kem != kemMLKEM768X25519 && f.kem != kemX25519 {
			changes = append(flipped(6, 6+f.enc-1, n-1), resized(n, n-1, n+1)...)
		}
		for _, e := range changes {
			add(f.kem, f.kem.name+"_"+e.name, "unwrap", e.description, func(v *vector) { v.keys[0].data = e.of(v.keys[0].data) })
		}
	}
	add(kemMLKEM768X25519, "wrong_key", "unwrap", "The reader's key has the right name and KEM, and other bytes.", func(v *vector) {
		v.readerKeys[0].key = kemMLKEM768X25519.keyLine(v.random.bytes(32))
	})
	add(kemMLKEM768X25519, "wrong_kem", "unwrap", "The reader's key of this name is of KEM 0020.", func(v *vector) {
		v.readerKeys[0].key = kemX25519.keyLine(kemX25519.newKey(v.random))
	})
	add(kemMLKEM768X25519, "no_match", "no-key", "The reader has a key of another name.", func(v *vector) { v.readerKeys[0].name = "partners" })
	for _, f := range []struct {
		name, what string
		edit       func(h *hpke)
	}{
		{"kdf_0002", "KDF 0002, and says so", func(h *hpke) { h.kdf = 2 }},
		{"kdf_0003", "KDF 0003, and says so", func(h *hpke) { h.kdf = 3 }},
		{"aead_0001", "AEAD 0001, and says so", func(h *hpke) { h.aead = 1 }},
		{"aead_0003", "AEAD 0003, and says so", func(h *hpke) { h.aead = 3 }},
		{"info_empty", "no info", func(h *hpke) { h.info = "" }},
		{"info_longer", "a zero byte behind the info", func(h *hpke) { h.info += "\x00" }},
		{"associated_data", "associated data", func(h *hpke) { h.ad = "bulla/v1" }},
		{"sequence", "sequence number 1", func(h *hpke) { h.sequence = 1 }},
	} {
		add(kemX25519, f.name, "unwrap", "The data key is wrapped with "+f.what+".", func(v *vector) {
			h := newHPKE(kemX25519)
			f.edit(&h)
			v.rewrapHPKE(h, v.dataKey)
		})
	}
	for _, n := range []int{0, 16, 31, 33} {
		add(kemX25519, fmt.Sprintf("data_key_%d", n), "unwrap", fmt.Sprintf("The wrapped key holds a data key of %d bytes.", n), func(v *vector) {
			v.rewrapHPKE(newHPKE(kemX25519), v.random.bytes(n))
		})
	}
	add(kemX25519, "of_other_stream", "auth-commitment", "The wrapped key of another stream under the same wrapping key.", func(v *vector) {
		v.rewrapHPKE(newHPKE(kemX25519), v.random.bytes(32))
	})
}

// hpkePoints adds encapsulated keys that are no use as public keys.
func (c *set) hpkePoints() {
	add := func(k *kem, name, description string, point func(p []byte)) {
		c.addKeys("hpke_"+k.name+"_"+name, "unwrap", "The encapsulated key "+description+".", func(v *vector) {
			v.addHPKE("partner", newHPKE(k))
			point(v.keys[0].data[6 : len(v.keys[0].data)-48])
		})
	}
	add(kemX25519, "point_zero", "is 0, of small order", func(p []byte) { clear(p) })
	add(kemX25519, "point_one", "is 1, of small order", func(p []byte) { clear(p); p[0] = 1 })
	add(kemX25519, "point_prime", "is 2^255-19, which is 0", func(p []byte) {
		copy(p, bytes.Repeat([]byte{0xFF}, 32))
		p[0], p[31] = 0xED, 0x7F
	})
	add(kemP256, "point_zero", "is all zero", func(p []byte) { clear(p) })
	add(kemP256, "point_off_curve", "is not on the curve", func(p []byte) { p[64] ^= 1 })
	add(kemP256, "point_compressed", "begins as a compressed point does", func(p []byte) { p[0] = 2 + p[64]&1 })
	add(kemMLKEM768X25519, "point_zero", "ends with an X25519 point of small order", func(p []byte) { clear(p[1088:]) })
	add(kemMLKEM768P256, "point_zero", "ends with zeros instead of a point", func(p []byte) { clear(p[1088:]) })
}
