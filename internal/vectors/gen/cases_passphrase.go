package main

import "fmt"

func (v *vector) addPassphrase(hint string, a argon, text string) {
	v.addWrapped(wrappedKey{5, hint, a.wrap(text, v.dataKey, v.random)}, keyPassphrase, []byte(text))
}

func (c *set) passphraseValid() {
	for _, f := range []struct {
		name  string
		argon argon
	}{
		{"lanes_1", argon{1, 8, 1}},
		{"lanes_4", argon{1, 32, 4}},
		{"lanes_16", argon{1, 128, 16}},
		{"passes_3", argon{3, 64, 4}},
		{"passes_16", argon{16, 32, 4}},
		{"memory_99", argon{2, 99, 4}},
		{"memory_1024", argon{1, 1024, 4}},
	} {
		c.addKeys("passphrase_"+f.name, "ok", fmt.Sprintf("Type 0005, t = %d, m = %d, p = %d.", f.argon.passes, f.argon.memory, f.argon.lanes), func(v *vector) {
			v.addPassphrase("", f.argon, "correct horse battery staple")
		})
	}
	c.addKeys("passphrase_hint", "ok", "A hint, and a passphrase of which UTF-8 has two forms.", func(v *vector) {
		v.addPassphrase("café, 2026", smallArgon, "caf\u00e9 \U0001F511")
	})
	c.addKeys("passphrase_second", "ok", "Two passphrases with the same hint; the reader has the second.", func(v *vector) {
		v.addPassphrase("door", smallArgon, "friend")
		v.addPassphrase("door", smallArgon, "mellon")
		v.readerKeys = v.readerKeys[1:]
	})
	c.addKeys("passphrase_bytes", "ok", "A passphrase with a zero byte, a space and a line end.", func(v *vector) {
		v.addPassphrase("", smallArgon, " a\x00b\n")
	})
}

func (c *set) passphraseFaults() {
	add := func(name, expect, description string, setup func(v *vector)) {
		c.addKeys("passphrase_"+name, expect, description, func(v *vector) {
			v.addPassphrase("door", smallArgon, "mellon")
			setup(v)
		})
	}
	edit := func(at int, value []byte) func(v *vector) {
		return func(v *vector) { put(at, value)(v.keys[0].data) }
	}
	for _, f := range append(resized(66, 1, 9, 10, 26, 65, 67), flipped(10, 25, 26, 65)...) {
		add(f.name, "unwrap", f.description, func(v *vector) { v.keys[0].data = f.of(v.keys[0].data) })
	}
	add("wrong", "unwrap", "The reader has another passphrase.", func(v *vector) { v.readerKeys[0].key = []byte("Mellon") })
	add("longer", "unwrap", "The reader's passphrase has a line end more.", func(v *vector) { v.readerKeys[0].key = []byte("mellon\n") })
	add("none", "no-key", "The reader has an AES key of the hint's name, and no passphrase.", func(v *vector) {
		v.readerKeys = []wrappingKey{{keyAES, "door", v.random.bytes(32)}}
	})
	c.addKeys("passphrase_normalised", "unwrap", "The reader's passphrase is the same text in another form of UTF-8.", func(v *vector) {
		v.addPassphrase("", smallArgon, "caf\u00e9")
		v.readerKeys[0].key = []byte("cafe\u0301")
	})
	for _, version := range []byte{0x00, 0x10, 0x12, 0x14, 0xFF} {
		add(fmt.Sprintf("version_%02x", version), "unwrap", fmt.Sprintf("Argon2 version %02x.", version), edit(0, []byte{version}))
	}
	add("argon2i", "unwrap", "The key was derived by Argon2i.", func(v *vector) {
		v.keys[0].data = smallArgon.wrapArgon2i("mellon", v.dataKey, v.random)
	})
	add("passes_other", "unwrap", "t is 2, the key was derived with 1.", edit(1, u32(2)))
	add("memory_other", "unwrap", "m is 33, the key was derived with 32.", edit(5, u32(33)))
	add("lanes_other", "unwrap", "p is 3, the key was derived with 4.", edit(9, []byte{3}))
	add("passes_0", "unwrap", "t is 0.", edit(1, u32(0)))
	add("lanes_0", "unwrap", "p is 0.", edit(9, []byte{0}))
	for _, memory := range []int{0, 7, 31} {
		add(fmt.Sprintf("memory_%d", memory), "unwrap", fmt.Sprintf("m is %d, less than 8p = 32.", memory), edit(5, u32(memory)))
	}
	add("lanes_255_memory_32", "unwrap", "p is 255 and m less than 8p: not in range, which is judged before the limits.", edit(9, []byte{255}))
	for _, n := range []int{16, 24, 40} {
		add(fmt.Sprintf("data_key_%d", n), "unwrap", fmt.Sprintf("The wrapped key holds a data key of %d bytes.", n), func(v *vector) {
			v.keys[0].data = smallArgon.wrap("mellon", v.random.bytes(n), v.random)
		})
	}
	add("of_other_stream", "auth-commitment", "The wrapped key of another stream under the same passphrase.", func(v *vector) {
		v.keys[0].data = smallArgon.wrap("mellon", v.random.bytes(32), v.random)
	})
}

// passphraseLimits adds parameters above the limits that a reader has where
// its caller says nothing.
func (c *set) passphraseLimits() {
	above := []struct {
		name  string
		argon argon
	}{
		{"passes_17", argon{17, 32, 4}},
		{"passes_most", argon{1<<32 - 1, 32, 4}},
		{"memory_1048577", argon{1, 1048577, 4}},
		{"memory_most", argon{1, 1<<32 - 1, 4}},
		{"lanes_17", argon{1, 136, 17}},
		{"lanes_255", argon{1, 2040, 255}},
		{"all_most", argon{1<<32 - 1, 1<<32 - 1, 255}},
	}
	front := func(v *vector, a argon) wrappedKey {
		return wrappedKey{5, "door", concat(a.front(v.random.bytes(16)), v.random.bytes(40))}
	}
	for _, f := range above {
		c.addKeys("passphrase_limit_"+f.name, "too-large", fmt.Sprintf("t = %d, m = %d, p = %d: above the limits of a reader.", f.argon.passes, f.argon.memory, f.argon.lanes), func(v *vector) {
			v.addWrapped(front(v, f.argon), keyPassphrase, []byte("mellon"))
		})
	}
	c.addKeys("passphrase_limit_beside", "ok", "A wrapped key above the reader's limits in front of one that unwraps.", func(v *vector) {
		v.keys = append(v.keys, front(v, argon{1<<32 - 1, 1<<32 - 1, 255}))
		v.addPassphrase("door", smallArgon, "mellon")
	})
}
