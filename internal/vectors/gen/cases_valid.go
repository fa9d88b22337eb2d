package main

import (
	"fmt"
	"strings"
)

// valid adds streams that a reader reads to the end.
func (c *set) valid() {
	suites := []struct {
		name string
		id   byte
	}{{"aes", suiteAES}, {"chacha", suiteChaCha}}
	const s = 4096
	sizes := []struct {
		name string
		n    int
	}{{"0", 0}, {"1", 1}, {"s-1", s - 1}, {"s", s}, {"s+1", s + 1}, {"2s", 2 * s}}
	for _, suite := range suites {
		for _, size := range sizes {
			for _, known := range []bool{false, true} {
				name, how := fmt.Sprintf("stream_%s_%s", suite.name, size.name), "not in the header"
				if known {
					name, how = name+"_known", "in the header"
				}
				c.add(name, "ok", fmt.Sprintf("Suite %02x, plaintext of %s bytes, its size %s.", suite.id, size.name, how), func(v *vector) {
					v.suite = suite.id
					v.fill(size.n)
					if known {
						v.sizeField = uint64(size.n)
					}
				})
			}
		}
	}
	c.add("stream_aes_64k", "ok", "Segments of 64 KiB and the default header of 4096 bytes.", func(v *vector) {
		v.k, v.headerSize = 16, 4096
		v.fillKnown(1<<16 + 1)
	})
	c.add("stream_chacha_64k", "ok", "Segments of 64 KiB, two of them full, size not in the header.", func(v *vector) {
		v.suite, v.k, v.headerSize = suiteChaCha, 16, 4096
		v.fill(2 << 16)
	})
	c.add("stream_aes_1m", "ok", "Segments of 1 MiB, size not in the header.", func(v *vector) {
		v.k = 20
		v.fill(1<<20 + 1)
	})
	c.add("stream_chacha_1m", "ok", "Segments of 1 MiB, only one and not full.", func(v *vector) {
		v.suite, v.k = suiteChaCha, 20
		v.fillKnown(1000)
	})
	c.validHeaders()
	c.validExtensions()
	c.validDetached()
}

func (c *set) validHeaders() {
	for _, size := range []int{4096, 5000, 65536} {
		c.add(fmt.Sprintf("header_size_%d", size), "ok", fmt.Sprintf("Header of %d bytes.", size), func(v *vector) {
			v.headerSize = size
			v.fill(100)
		})
	}
	c.add("header_rewrapped", "ok", "Header of generation 7.", func(v *vector) {
		v.generation = 7
		v.fill(100)
	})
	c.add("header_generation_most", "ok", "Header of the largest generation, 2^32-1.", func(v *vector) {
		v.generation = 1<<32 - 1
		v.fill(100)
	})
	c.add("keys_several", "ok", "Three wrapped keys, of which the reader has the middle one.", func(v *vector) {
		v.addKey("archive", v.random.bytes(32))
		v.addKey("escrow", v.random.bytes(32))
		v.readerKeys = v.readerKeys[1:2]
		v.fill(100)
	})
	c.add("keys_most", "ok", "32 wrapped keys, of which the reader has the one at the end.", func(v *vector) {
		for i := 2; i <= 32; i++ {
			v.addKey(fmt.Sprintf("key %d", i), v.random.bytes(32))
		}
		v.readerKeys = v.readerKeys[31:]
		v.fill(100)
	})
	c.add("keys_unknown_type_beside", "ok", "A wrapped key of a private type, without a name, in front of the reader's.", func(v *vector) {
		v.keys = append([]wrappedKey{{0xF001, "", v.random.bytes(3)}}, v.keys...)
		v.fill(100)
	})
	c.add("keys_same_name", "ok", "Two wrapped keys have the same name; the first is for another wrapping key.", func(v *vector) {
		v.keys = append([]wrappedKey{{1, "backup", wrapAES(v.random.bytes(32), v.dataKey)}}, v.keys...)
		v.fill(100)
	})
	c.add("keys_first_damaged", "ok", "The reader has both wrapping keys; the first wrapped key does not unwrap.", func(v *vector) {
		v.addKey("archive", v.random.bytes(32))
		v.keys[0].data[20] ^= 1
		v.fill(100)
	})
	c.add("keys_name_longest", "ok", "A key name of 1024 bytes, not ASCII alone.", func(v *vector) {
		v.keys, v.readerKeys = nil, nil
		v.addKey(strings.Repeat("ключ 🔑 key \u0080\u00a0 ~", 64)[:1024-26]+strings.Repeat("z", 26), v.random.bytes(32))
		v.fill(100)
	})
}

func (c *set) validExtensions() {
	c.add("context_one", "ok", "One pair, required by the reader.", func(v *vector) {
		v.withContext("tenant", "a")
		v.requireContext = map[string]string{"tenant": "a"}
		v.fill(100)
	})
	c.add("context_several", "ok", "Pairs in byte order, an empty value, a key that begins another; the reader requires two.", func(v *vector) {
		v.withContext("Zone", "", "tenant", "a", "tenant-id", "7", "ключ", "значение", "\U0001F511", "\uFFFD")
		v.requireContext = map[string]string{"Zone": "", "ключ": "значение"}
		v.fill(100)
	})
	c.add("metadata_chacha", "ok", "Sealed metadata under suite 02.", func(v *vector) {
		v.suite = suiteChaCha
		v.withMetadata("content-type", "text/plain", "name", "report.txt")
		v.fill(100)
	})
	c.add("metadata_aes", "ok", "Sealed metadata under suite 01.", func(v *vector) {
		v.withMetadata("name", "")
		v.fill(100)
	})
	c.add("location_equal", "ok", "Location, and the reader is there.", func(v *vector) {
		v.exts = []extension{{0x8003, []byte("s3://bucket/key")}}
		v.location = "s3://bucket/key"
		v.fill(100)
	})
	c.add("location_any", "ok", "Location, and the reader accepts any.", func(v *vector) {
		v.exts = []extension{{0x8003, []byte("s3://bucket/key")}}
		v.anyLocation = true
		v.fill(100)
	})
	c.add("location_none_in_header", "ok", "The reader is given a location, the header has none.", func(v *vector) {
		v.location = "s3://bucket/key"
		v.fill(100)
	})
	c.add("extension_unknown", "ok", "An unknown extension that is not critical, with an empty value.", func(v *vector) {
		v.exts = []extension{{0x7F01, nil}}
		v.fill(100)
	})
	c.add("extension_most", "ok", "32 unknown extensions.", func(v *vector) {
		for i := range 32 {
			v.exts = append(v.exts, extension{uint16(0x7F00 + i), v.random.bytes(i)})
		}
		v.fill(100)
	})
	c.add("extension_all", "ok", "Metadata, an unknown extension, context, location and associated data in one stream.", func(v *vector) {
		v.withAD("invoice 2291")
		v.withMetadata("modified", "2026-01-02T03:04:05Z", "name", "invoice.pdf")
		v.exts = append(v.exts, extension{0x7F01, []byte("x")})
		v.withContext("tenant", "a")
		v.exts = append(v.exts, extension{0x8003, []byte("s3://bucket/invoice.pdf")})
		v.location, v.headerSize = "s3://bucket/invoice.pdf", 4096
		v.fillKnown(5000)
	})
	c.add("ad_given", "ok", "Associated data that both sides know.", func(v *vector) {
		v.withAD("invoice 2291")
		v.fill(5000)
	})
	c.add("ad_long", "ok", "Associated data of 10000 bytes, suite 02.", func(v *vector) {
		v.suite = suiteChaCha
		v.withAD(string(v.random.bytes(10000)))
		v.fill(100)
	})
	c.add("limit_equal", "ok", "Header and segments are as large as the reader's limits.", func(v *vector) {
		v.headerSize, v.maxHeaderSize, v.maxSegmentSize = 4096, 4096, 4096
		v.fill(5000)
	})
}

func (c *set) validDetached() {
	for _, known := range []bool{false, true} {
		name := "detached_unknown"
		if known {
			name = "detached_known"
		}
		c.add(name, "ok", "Header in an object of its own.", func(v *vector) {
			v.flags |= flagDetached
			v.fill(2*4096 + 1)
			if known {
				v.sizeField = uint64(len(v.plaintext))
			}
		})
	}
	c.add("detached_empty", "ok", "Header in an object of its own, padded; the plaintext is empty.", func(v *vector) {
		v.flags |= flagDetached
		v.headerSize = 4096
		v.fillKnown(0)
	})
	c.add("detached_ad", "ok", "Detached header and associated data, suite 02.", func(v *vector) {
		v.suite = suiteChaCha
		v.flags |= flagDetached
		v.withAD("invoice 2291")
		v.fill(4096)
	})
	c.add("detached_rewrapped", "ok", "A detached header of generation 1 with another key and a context; the payload is as it was.", func(v *vector) {
		v.flags |= flagDetached
		v.generation = 1
		v.keys, v.readerKeys = nil, nil
		v.addKey("new backup", v.random.bytes(32))
		v.withContext("rotated", "yes")
		v.fill(5000)
	})
}
