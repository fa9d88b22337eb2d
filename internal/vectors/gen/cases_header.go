package main

import (
	"bytes"
	"fmt"
)

// headers adds streams with one fault in the header.
func (c *set) headers() {
	c.prelude()
	c.headerSizes()
	c.headerCounts()
	c.headerMACs()
	c.wrappedKeys()
	c.wrappedKeyFields()
}

func (c *set) prelude() {
	for i := range 8 {
		c.add(fmt.Sprintf("prelude_magic_%d", i), "not-stream", fmt.Sprintf("Byte %d of the magic is wrong.", i), func(v *vector) {
			v.magic[i] ^= 0x80
			v.fill(100)
		})
	}
	for _, f := range []struct {
		field, expect string
		values        []byte
		set           func(s *stream, b byte)
	}{
		{"version", "unsupported", []byte{0, 2, 255}, func(s *stream, b byte) { s.version = b }},
		{"suite", "unsupported", []byte{0, 3, 255}, func(s *stream, b byte) { s.suite = b }},
		{"flags", "malformed", []byte{4, 8, 16, 32, 64, 128}, func(s *stream, b byte) { s.flags = b }},
	} {
		for _, b := range f.values {
			c.add(fmt.Sprintf("prelude_%s_%02x", f.field, b), f.expect, fmt.Sprintf("The %s byte is %02x; everything else agrees with it.", f.field, b), func(v *vector) {
				v.fill(100)
				f.set(&v.stream, b)
			})
		}
	}
	for _, b := range []byte{0, 11, 25, 255} {
		c.add(fmt.Sprintf("prelude_exponent_%d", b), "malformed", fmt.Sprintf("Segment exponent %d; the header agrees with it.", b), func(v *vector) {
			v.fill(100)
			segs := v.segments()
			v.k, v.noSegments = b, true
			v.changePayload = func([][]byte) [][]byte { return segs }
		})
	}
	for _, f := range []struct {
		name, description string
		at                int
		value             byte
	}{
		{"suite_other", "Suite 02 on a stream of suite 01.", 9, suiteChaCha},
		{"exponent_other", "Segment exponent 13 on a stream of 12.", 10, 13},
	} {
		c.add("prelude_"+f.name, "auth-commitment", f.description, func(v *vector) {
			v.fill(100)
			v.change = put(f.at, []byte{f.value})
		})
	}
	for _, at := range []int{12, 27, 43, 44, 60, 75} {
		field := "IV"
		if at >= 44 {
			field = "commitment"
		}
		c.add(fmt.Sprintf("prelude_byte_%d", at), "auth-commitment", fmt.Sprintf("One bit of the %s is wrong.", field), func(v *vector) {
			v.fill(100)
			v.change = flip(at)
		})
	}
	c.add("prelude_commitment_under_mac", "auth-commitment", "A wrong commitment under a right header MAC.", func(v *vector) {
		v.fill(100)
		v.editBody = flip(50)
	})
	c.add("prelude_commitment_first", "auth-commitment", "Commitment and header MAC are both wrong: the commitment is judged first.", func(v *vector) {
		v.fill(100)
		v.changeHeader = func(h []byte) []byte { return flip(-1)(flip(50)(h)) }
	})
}

func (c *set) headerSizes() {
	for _, h := range []int64{0, 134, 65537, 1<<32 - 1} {
		c.add(fmt.Sprintf("header_size_bad_%d", h), "malformed", fmt.Sprintf("H is %d, under a right header MAC.", h), func(v *vector) {
			v.fill(100)
			v.editBody = put(76, u32(h))
		})
	}
	c.add("header_size_unread", "truncated", "H is 65536, the object is smaller.", func(v *vector) {
		v.fill(100)
		v.editBody = put(76, u32(65536))
	})
	c.add("header_size_less", "malformed", "H of a header without padding is one less.", func(v *vector) {
		v.fill(100)
		v.change = func(b []byte) []byte { return put(76, u32(len(v.stream.header())-1))(b) }
	})
	c.add("header_size_more", "malformed", "H is one more: the first byte of the MAC stands where padding should.", func(v *vector) {
		v.fill(100)
		v.change = func(b []byte) []byte {
			n := len(v.stream.header())
			if b[n-macSize] == 0 {
				panic(v.name + ": the MAC begins with a zero byte")
			}
			return put(76, u32(n+1))(b)
		}
	})
	c.add("header_size_less_padded", "auth-header", "H of a padded header is one less.", func(v *vector) {
		v.headerSize = 4096
		v.fill(100)
		v.change = put(76, u32(4095))
	})
	c.add("header_segment_limit", "too-large", "S is above the reader's limit.", func(v *vector) {
		v.k, v.maxSegmentSize = 13, 4096
		v.fill(100)
	})
	c.add("header_limit", "too-large", "H is above the reader's limit.", func(v *vector) {
		v.headerSize, v.maxHeaderSize = 4097, 4096
		v.fill(100)
	})
	for _, at := range []struct {
		name string
		of   func(fields, size int) int
	}{
		{"first", func(fields, _ int) int { return fields }},
		{"middle", func(fields, size int) int { return (fields + size - macSize) / 2 }},
		{"end", func(_, size int) int { return size - macSize - 1 }},
	} {
		for _, b := range []byte{0x01, 0x80} {
			c.add(fmt.Sprintf("header_padding_%s_%02x", at.name, b), "malformed", "A byte of the padding is not zero, under a right header MAC.", func(v *vector) {
				v.headerSize = 512
				v.fill(100)
				v.editBody = put(at.of(v.extensionsOffset()+2, 512), []byte{b})
			})
		}
		c.add("header_padding_"+at.name+"_unsigned", "malformed", "A byte of the padding is not zero.", func(v *vector) {
			v.headerSize = 512
			v.fill(100)
			v.change = flip(at.of(v.extensionsOffset()+2, 512))
		})
	}
}

func (c *set) headerCounts() {
	for _, f := range []struct {
		name, description string
		r, e              int // counts in the header, or -1
	}{
		{"keys_count_0", "R is 0.", 0, -1},
		{"keys_count_33", "R is 33.", 33, -1},
		{"keys_count_65535", "R is 65535.", 65535, -1},
		{"keys_count_more", "R is one more than there are wrapped keys.", 2, -1},
		{"extension_count_33", "E is 33.", -1, 33},
		{"extension_count_more", "E is one more than there are extensions: the padding gives one of type 0000.", -1, 3},
		{"extension_count_less", "E is one less: the extension that is left over is no padding.", -1, 1},
	} {
		c.add(f.name, "malformed", f.description, func(v *vector) {
			v.exts = []extension{{0x7F01, []byte("one")}, {0x7F02, []byte("two")}}
			v.headerSize = 512
			v.fill(100)
			v.editBody = func(h []byte) []byte {
				if f.r >= 0 {
					put(92, u16(f.r))(h)
				}
				if f.e >= 0 {
					put(v.extensionsOffset(), u16(f.e))(h)
				}
				return h
			}
		})
	}
	c.add("keys_33", "malformed", "33 wrapped keys.", func(v *vector) {
		for range 32 {
			v.keys = append(v.keys, v.keys[0])
		}
		v.fill(100)
	})
	c.add("keys_none", "malformed", "No wrapped key, and R is 0.", func(v *vector) {
		v.keys = nil
		v.headerSize = 512
		v.fill(100)
	})
	c.add("extension_33", "malformed", "33 extensions.", func(v *vector) {
		for i := range 33 {
			v.exts = append(v.exts, extension{uint16(0x7F00 + i), nil})
		}
		v.fill(100)
	})
	for _, n := range []uint64{1<<64 - 2, 1 << 63, 1<<63 - 1, 1<<63 - 1<<40} {
		c.add(fmt.Sprintf("header_plaintext_size_%x", n), "malformed", "The plaintext size has a stored size above 2^63-1.", func(v *vector) {
			v.fill(100)
			v.sizeField = n
		})
	}
}

func (c *set) headerMACs() {
	for _, f := range []struct {
		name, description string
		at                int
	}{
		{"header_mac_first", "The first byte of the header MAC is wrong.", -32},
		{"header_mac_end", "The byte at the end of the header MAC is wrong.", -1},
		{"header_generation", "The generation was changed.", 83},
		{"header_plaintext_size", "The plaintext size was changed.", 91},
	} {
		c.add(f.name, "auth-header", f.description, func(v *vector) {
			v.fillKnown(100)
			v.changeHeader = flip(f.at)
		})
	}
	c.add("header_mac_zero", "auth-header", "The header MAC is all zero.", func(v *vector) {
		v.fill(100)
		v.changeHeader = func(h []byte) []byte { return put(len(h)-macSize, make([]byte, macSize))(h) }
	})
	c.add("header_mac_older", "auth-header", "The header MAC is that of the header before it was re-wrapped.", func(v *vector) {
		v.fill(100)
		older := v.stream.header()
		v.generation = 1
		v.changeHeader = func(h []byte) []byte { return put(len(h)-macSize, older[len(older)-macSize:])(h) }
	})
	c.add("header_key_added", "auth-header", "A wrapped key was added without the data key.", func(v *vector) {
		v.headerSize = 512
		v.fill(100)
		mac := v.stream.header()[512-macSize:]
		v.keys = append(v.keys, wrappedKey{1, "intruder", v.random.bytes(40)})
		v.changeHeader = func(h []byte) []byte { return put(512-macSize, mac)(h) }
	})
	c.add("header_key_name", "auth-header", "The name of a wrapped key that the reader does not use was changed.", func(v *vector) {
		v.addKey("archive", v.random.bytes(32))
		v.readerKeys = v.readerKeys[:1]
		v.fill(100)
		v.changeHeader = func(h []byte) []byte {
			return put(bytes.Index(h, []byte("archive")), []byte("Archive"))(h)
		}
	})
	c.add("header_extension_removed", "auth-header", "An extension was taken out.", func(v *vector) {
		v.headerSize = 512
		v.withContext("tenant", "a")
		v.fill(100)
		mac := v.stream.header()[512-macSize:]
		v.exts, v.context = nil, nil
		v.changeHeader = func(h []byte) []byte { return put(512-macSize, mac)(h) }
	})
	c.add("header_padding_cut", "auth-header", "The padding was taken out and H changed to match.", func(v *vector) {
		v.headerSize = 512
		v.fill(100)
		mac := v.stream.header()[512-macSize:]
		v.headerSize = 0
		v.changeHeader = func(h []byte) []byte { return put(len(h)-macSize, mac)(h) }
	})
}

func (c *set) wrappedKeys() {
	c.add("keys_wrong", "unwrap", "The reader's key has the right name and other bytes.", func(v *vector) {
		v.readerKeys[0].key = v.random.bytes(32)
		v.fill(100)
	})
	c.add("keys_no_match", "no-key", "The reader has a key of another name.", func(v *vector) {
		v.readerKeys[0].name = "Backup"
		v.fill(100)
	})
	c.add("keys_no_match_prefix", "no-key", "The name of the reader's key is the beginning of the one in the header.", func(v *vector) {
		v.readerKeys[0].name = "back"
		v.fill(100)
	})
	c.add("keys_unknown_type", "no-key", "The one wrapped key has a private type, and the reader's name.", func(v *vector) {
		v.keys[0].kind = 0xF001
		v.fill(100)
	})
	for _, at := range []int{0, 20, 39} {
		c.add(fmt.Sprintf("keys_byte_%d", at), "unwrap", "One bit of the wrapped key is wrong, under a right header MAC.", func(v *vector) {
			v.keys[0].data[at] ^= 1
			v.fill(100)
		})
	}
	c.add("keys_byte_unsigned", "unwrap", "One bit of the wrapped key is wrong.", func(v *vector) {
		v.fill(100)
		v.changeHeader = func(h []byte) []byte { return flip(bytes.Index(h, v.keys[0].data))(h) }
	})
	for _, n := range []int{1, 8, 16, 39, 41, 48} {
		c.add(fmt.Sprintf("keys_size_%d", n), "unwrap", fmt.Sprintf("A wrapped key of type 0001 has %d bytes, not 40.", n), func(v *vector) {
			v.keys[0].data = append(v.keys[0].data, v.random.bytes(8)...)[:n]
			v.fill(100)
		})
	}
	for _, n := range []int{16, 24, 40} {
		c.add(fmt.Sprintf("keys_data_key_%d", n), "unwrap", fmt.Sprintf("The wrapped key holds a data key of %d bytes.", n), func(v *vector) {
			v.keys[0].data = wrapAES(v.readerKeys[0].key, v.random.bytes(n))
			v.fill(100)
		})
	}
	c.add("keys_mixed", "auth-commitment", "Two wrapped keys hold different data keys; the reader has the one of the wrong data key.", func(v *vector) {
		key := v.random.bytes(32)
		v.keys = append(v.keys, wrappedKey{1, "archive", wrapAES(key, v.random.bytes(32))})
		v.readerKeys = []wrappingKey{{keyAES, "archive", key}}
		v.fill(100)
	})
	c.add("keys_of_other_stream", "auth-commitment", "The wrapped key of another stream under the same wrapping key.", func(v *vector) {
		v.keys[0].data = wrapAES(v.readerKeys[0].key, v.random.bytes(32))
		v.fill(100)
	})
}

func (c *set) wrappedKeyFields() {
	c.add("keys_type_0", "malformed", "A wrapped key of type 0000 beside the reader's.", func(v *vector) {
		v.keys = append(v.keys, wrappedKey{0, "x", []byte("x")})
		v.fill(100)
	})
	c.add("keys_empty", "malformed", "An empty wrapped key beside the reader's.", func(v *vector) {
		v.keys = append(v.keys, wrappedKey{1, "x", nil})
		v.fill(100)
	})
	for _, f := range []struct{ name, description, value string }{
		{"long", "1025 bytes", string(bytes.Repeat([]byte("n"), 1025))},
		{"control_00", "a zero byte", "a\x00b"},
		{"control_1f", "byte 1F", "a\x1fb"},
		{"control_7f", "byte 7F", "a\x7fb"},
		{"utf8_cut", "a UTF-8 sequence that is cut", "a\xe2\x82"},
		{"utf8_overlong", "an overlong UTF-8 sequence", "a\xc0\xaf"},
		{"utf8_surrogate", "a surrogate in UTF-8", "a\xed\xa0\x80"},
		{"utf8_above", "a code point above U+10FFFF", "a\xf4\x90\x80\x80"},
		{"utf8_lone", "a continuation byte alone", "a\x80"},
	} {
		c.add("keys_name_"+f.name, "malformed", "The name of a wrapped key beside the reader's has "+f.description+".", func(v *vector) {
			v.keys = append(v.keys, wrappedKey{1, f.value, v.random.bytes(40)})
			v.fill(100)
		})
	}
	for _, f := range []struct {
		name  string
		at, n int
	}{
		{"keys_name_size_over", 96, 65535},
		{"keys_name_size_one_over", 96, 512 - macSize - 98 + 1},
		{"keys_size_over", 104, 65535},
		{"keys_size_one_over", 104, 512 - macSize - 106 + 1},
	} {
		c.add(f.name, "malformed", "A size field of the wrapped key reaches beyond the fields' end.", func(v *vector) {
			v.headerSize = 512
			v.fill(100)
			v.editBody = put(f.at, u16(f.n))
		})
	}
}
