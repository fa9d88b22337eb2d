package main

import "fmt"

// overhead is what a stored segment takes beyond its plaintext.
const overhead = 28

// payloads adds streams with one fault behind the header.
func (c *set) payloads() {
	c.cutPrelude()
	c.cutPayload()
	c.trailing()
	c.segmentBytes()
	c.segmentPlaces()
	c.segmentFinality()
	c.plaintextSizes()
	c.detachedFaults()
}

func (c *set) cutPrelude() {
	for _, n := range []int{0, 1, 7} {
		c.add(fmt.Sprintf("cut_%d", n), "not-stream", fmt.Sprintf("Only the first %d bytes.", n), func(v *vector) {
			v.fill(100)
			v.change = cut(n)
		})
	}
	for _, n := range []int{8, 12, 44, 75, 76, 79, 80, 95} {
		c.add(fmt.Sprintf("cut_%d", n), "truncated", fmt.Sprintf("Only the first %d bytes.", n), func(v *vector) {
			v.fill(100)
			v.change = cut(n)
		})
	}
	for _, n := range []int{33, 32, 31, 1, 0} {
		c.add(fmt.Sprintf("cut_header_%d", n), "truncated", fmt.Sprintf("Cut %d bytes before the end of the header.", n), func(v *vector) {
			v.fill(100)
			v.change = func(b []byte) []byte { return b[:len(v.stream.header())-n] }
		})
	}
}

// cutPayload cuts a stream of two full segments and 100 bytes at and beside
// every edge.
func (c *set) cutPayload() {
	const stored, final = 4096 + overhead, 100 + overhead
	lengths := []int{1, 12, 27, 28, 29, stored - 1, stored, stored + 1, stored + 27, stored + 28, stored + 29}
	lengths = append(lengths, 2*stored-1, 2*stored, 2*stored+1, 2*stored+12, 2*stored+27, 2*stored+28, 2*stored+29, 2*stored+final-1)
	for _, n := range lengths {
		for _, known := range []bool{false, true} {
			// Without the size, what is left is taken for the final segment if
			// it is large enough for one (SPEC §9.2).
			name, expect, segment := fmt.Sprintf("cut_payload_%d", n), "truncated", -1
			if known {
				name += "_known"
			} else if n%stored >= overhead {
				expect, segment = "auth-segment", n/stored
			}
			c.add(name, expect, fmt.Sprintf("Only the first %d bytes of the payload of %d.", n, 2*stored+final), func(v *vector) {
				v.fill(2*4096 + 100)
				if known {
					v.sizeField = uint64(len(v.plaintext))
				}
				v.segment = segment
				v.released = n / stored * 4096
				v.changePayload = func(segs [][]byte) [][]byte { return [][]byte{concat(segs...)[:n]} }
			})
		}
	}
	c.add("cut_payload_empty_final", "truncated", "The empty final segment behind one full segment lacks a byte.", func(v *vector) {
		v.fill(4096)
		v.released = 4096
		v.changePayload = func(segs [][]byte) [][]byte { return [][]byte{segs[0], segs[1][:27]} }
	})
}

// trailing appends bytes to a stream of one full segment and 100 bytes.
func (c *set) trailing() {
	const stored, final = 4096 + overhead, 100 + overhead
	for _, n := range []int{1, 16, 28, stored - final - 1, stored - final, stored - final + 1, stored, stored + 1, 2 * stored} {
		for _, known := range []bool{false, true} {
			name, expect, random := fmt.Sprintf("trailing_%d", n), "auth-segment", ""
			if known {
				name, expect = name+"_known", "size-mismatch"
			} else if (final+n)%stored < overhead {
				random = "truncated"
			}
			c.add(name, expect, fmt.Sprintf("%d bytes behind the final segment.", n), func(v *vector) {
				v.fill(4096 + 100)
				if known {
					v.sizeField = uint64(len(v.plaintext))
				} else {
					v.segment = 1
				}
				v.expectRandom, v.released = random, 4096
				v.changePayload = func(segs [][]byte) [][]byte { return append(segs, v.random.bytes(n)) }
			})
		}
	}
	c.add("trailing_segment", "auth-segment", "A second final segment, sealed for its place, behind the first.", func(v *vector) {
		v.fill(4096 + 100)
		v.segment, v.released = 1, 4096
		v.changePayload = func(segs [][]byte) [][]byte { return append(segs, v.seal(2, true, []byte("more"))) }
	})
	c.add("trailing_stream", "auth-segment", "The same stream once more behind it.", func(v *vector) {
		v.fill(100)
		v.segment = 0
		v.change = func(b []byte) []byte { return concat(b, b) }
	})
}

func (c *set) segmentBytes() {
	for _, seg := range []int{0, 1, 2} {
		for _, f := range []struct {
			name string
			at   int
		}{{"nonce_first", 0}, {"nonce_end", 11}, {"ciphertext_first", 12}, {"ciphertext_end", -17}, {"tag_first", -16}, {"tag_end", -1}} {
			c.add(fmt.Sprintf("segment_%d_%s", seg, f.name), "auth-segment", fmt.Sprintf("One bit of segment %d of 3 is wrong.", seg), func(v *vector) {
				v.fill(2*4096 + 100)
				v.segment, v.released = seg, seg*4096
				v.changePayload = func(segs [][]byte) [][]byte {
					flip(f.at)(segs[seg])
					return segs
				}
			})
		}
	}
	c.add("segment_chacha_tag", "auth-segment", "One bit of a tag is wrong, suite 02.", func(v *vector) {
		v.suite = suiteChaCha
		v.fillKnown(2*4096 + 100)
		v.segment, v.released = 1, 4096
		v.changePayload = func(segs [][]byte) [][]byte {
			flip(-1)(segs[1])
			return segs
		}
	})
	c.add("segment_final_tag", "auth-segment", "One bit of the tag of an empty final segment is wrong.", func(v *vector) {
		v.fill(4096)
		v.segment, v.released = 1, 4096
		v.changePayload = func(segs [][]byte) [][]byte {
			flip(-1)(segs[1])
			return segs
		}
	})
}

func (c *set) segmentPlaces() {
	for _, f := range []struct {
		name, description string
		segment           int    // that fails in order
		randomKnown       string // what random access meets first, where the size is known
		change            func(segs [][]byte) [][]byte
	}{
		{"swapped", "Segments 0 and 1 have changed places.", 0, "", func(s [][]byte) [][]byte {
			return [][]byte{s[1], s[0], s[2], s[3]}
		}},
		{"swapped_later", "Segments 1 and 2 have changed places.", 1, "", func(s [][]byte) [][]byte {
			return [][]byte{s[0], s[2], s[1], s[3]}
		}},
		{"dropped_first", "Segment 0 is missing.", 0, "truncated", func(s [][]byte) [][]byte { return s[1:] }},
		{"dropped_middle", "Segment 1 is missing.", 1, "truncated", func(s [][]byte) [][]byte {
			return [][]byte{s[0], s[2], s[3]}
		}},
		{"doubled", "Segment 1 is there twice.", 2, "size-mismatch", func(s [][]byte) [][]byte {
			return [][]byte{s[0], s[1], s[1], s[2], s[3]}
		}},
		{"replaced", "Segment 0 stands in the place of segment 2.", 2, "", func(s [][]byte) [][]byte {
			return [][]byte{s[0], s[1], s[0], s[3]}
		}},
	} {
		for _, known := range []bool{false, true} {
			name, random := "segment_"+f.name, ""
			if known {
				name, random = name+"_known", f.randomKnown
			}
			c.add(name, "auth-segment", f.description, func(v *vector) {
				v.fill(3*4096 + 100)
				if known {
					v.sizeField = uint64(len(v.plaintext))
				}
				v.segment, v.released, v.expectRandom = f.segment, f.segment*4096, random
				v.changePayload = f.change
			})
		}
	}
	c.add("segment_dropped_before_final", "auth-segment", "The segment before the final one is missing.", func(v *vector) {
		v.fill(2*4096 + 100)
		v.segment, v.released = 1, 4096
		v.changePayload = func(s [][]byte) [][]byte { return [][]byte{s[0], s[2]} }
	})
	c.add("segment_dropped_before_final_known", "truncated", "The segment before the final one is missing: the final one is too short for its place.", func(v *vector) {
		v.fillKnown(2*4096 + 100)
		v.released = 4096
		v.changePayload = func(s [][]byte) [][]byte { return [][]byte{s[0], s[2]} }
	})
	for _, f := range []struct {
		name, description string
		seal              func(v *vector, plaintext []byte) []byte
	}{
		{"other_stream", "Segment 1 is segment 1 of another stream under the same data key.", func(v *vector, p []byte) []byte {
			other := v.stream
			other.iv = v.random.bytes(32)
			return other.seal(1, false, p)
		}},
		{"other_data_key", "Segment 1 is segment 1 of another stream under another data key, with the same IV.", func(v *vector, p []byte) []byte {
			other := v.stream
			other.dataKey = v.random.bytes(32)
			return other.seal(1, false, p)
		}},
		{"other_ad", "Segment 1 is segment 1 of a stream with other associated data.", func(v *vector, p []byte) []byte {
			other := v.stream
			other.ad = []byte("x")
			return other.seal(1, false, p)
		}},
		{"other_suite", "Segment 1 was sealed under suite 02.", func(v *vector, p []byte) []byte {
			other := v.stream
			other.suite = suiteChaCha
			return other.seal(1, false, p)
		}},
		{"other_epoch", "Segment 1 was sealed as segment 2^20+1, under the key of epoch 1.", func(v *vector, p []byte) []byte {
			return v.seal(1<<20+1, false, p)
		}},
		{"other_epoch_key", "Segment 1 was sealed for its place, under the key of epoch 1.", func(v *vector, p []byte) []byte {
			return v.sealUnder(1, 1, false, p)
		}},
		{"other_epoch_index", "Segment 1 was sealed as segment 2^20+1, under the key of epoch 0.", func(v *vector, p []byte) []byte {
			return v.sealUnder(0, 1<<20+1, false, p)
		}},
	} {
		c.add("segment_"+f.name, "auth-segment", f.description, func(v *vector) {
			v.fill(2*4096 + 100)
			v.segment, v.released = 1, 4096
			v.changePayload = func(segs [][]byte) [][]byte {
				segs[1] = f.seal(v, v.plaintext[4096:2*4096])
				return segs
			}
		})
	}
	c.add("segment_sealed_again", "ok", "Segment 1 was sealed a second time, with other contents: the stream is valid.", func(v *vector) {
		v.fill(2*4096 + 100)
		before := v.random.bytes(4096)
		v.changePayload = func(segs [][]byte) [][]byte {
			v.seal(1, false, before) // sealed first, and replaced
			segs[1] = v.seal(1, false, v.plaintext[4096:2*4096])
			return segs
		}
	})
	c.add("segment_payload_of_other_stream", "auth-segment", "The header of one stream before the payload of another, under one data key.", func(v *vector) {
		v.fillKnown(4096 + 100)
		v.segment = 0
		other := v.stream
		other.iv = v.random.bytes(32)
		v.changePayload = func([][]byte) [][]byte { return other.segments() }
	})
}

func (c *set) segmentFinality() {
	for _, known := range []bool{false, true} {
		suffix := ""
		if known {
			suffix = "_known"
		}
		add := func(name, expect, description string, n int, setup func(v *vector)) {
			c.add(name+suffix, expect, description, func(v *vector) {
				v.fill(n)
				if known {
					v.sizeField = uint64(n)
				}
				setup(v)
			})
		}
		add("final_full", "auth-segment", "The one segment is full and sealed as final; there is no other.", 4096, func(v *vector) {
			v.segment, v.expectRandom = 0, "truncated"
			v.changePayload = func([][]byte) [][]byte { return [][]byte{v.seal(0, true, v.plaintext)} }
		})
		add("final_full_second", "auth-segment", "The second of two segments is full and sealed as final.", 2*4096, func(v *vector) {
			v.segment, v.released, v.expectRandom = 1, 4096, "truncated"
			v.changePayload = func(segs [][]byte) [][]byte {
				return [][]byte{segs[0], v.seal(1, true, v.plaintext[4096:])}
			}
		})
		add("final_early", "auth-segment", "Segment 0 of two is sealed as final.", 4096+100, func(v *vector) {
			v.segment = 0
			v.changePayload = func(segs [][]byte) [][]byte {
				return [][]byte{v.seal(0, true, v.plaintext[:4096]), segs[1]}
			}
		})
		add("final_not", "auth-segment", "The final segment is sealed as not final.", 4096+100, func(v *vector) {
			v.segment, v.released = 1, 4096
			v.changePayload = func(segs [][]byte) [][]byte {
				return [][]byte{segs[0], v.seal(1, false, v.plaintext[4096:])}
			}
		})
		add("final_not_empty", "auth-segment", "The final segment is empty and sealed as not final.", 4096, func(v *vector) {
			v.segment, v.released = 1, 4096
			v.changePayload = func(segs [][]byte) [][]byte {
				return [][]byte{segs[0], v.seal(1, false, nil)}
			}
		})
		add("final_missing", "truncated", "Two full segments, both sealed as not final, and nothing behind them.", 2*4096, func(v *vector) {
			v.released = 2 * 4096
			v.changePayload = func(segs [][]byte) [][]byte { return segs[:2] }
		})
		add("final_short_middle", "auth-segment", "Segment 0 is sealed as not final and lacks a byte.", 2*4096, func(v *vector) {
			v.segment, v.expectRandom = 0, "truncated"
			v.changePayload = func(segs [][]byte) [][]byte {
				return [][]byte{v.seal(0, false, v.plaintext[:4095]), segs[1], segs[2]}
			}
		})
	}
}

// plaintextSizes puts wrong sizes into headers whose MAC is right: what a
// writer does whose source changed.
func (c *set) plaintextSizes() {
	const n = 2*4096 + 100
	for _, f := range []struct {
		name     string
		size     uint64
		expect   string
		released int
	}{
		{"one_more", n + 1, "truncated", 2 * 4096},
		{"segment_more", n + 4096, "truncated", 2 * 4096},
		{"most", 1 << 62, "truncated", 2 * 4096},
		{"edge_more", 3 * 4096, "truncated", 2 * 4096},
		{"one_less", n - 1, "size-mismatch", 2 * 4096},
		{"edge_less", 2 * 4096, "size-mismatch", 2 * 4096},
		{"segment_less", n - 4096, "size-mismatch", 4096},
		{"zero", 0, "size-mismatch", 0},
	} {
		c.add("size_"+f.name, f.expect, fmt.Sprintf("The header says %d bytes of plaintext, the segments hold %d.", f.size, n), func(v *vector) {
			v.fill(n)
			v.sizeField, v.released = f.size, f.released
		})
	}
}

func (c *set) detachedFaults() {
	add := func(name, expect, description string, setup func(v *vector)) {
		c.add("detached_"+name, expect, description, func(v *vector) {
			v.flags |= flagDetached
			v.fill(4096 + 100)
			setup(v)
		})
	}
	for _, f := range []struct {
		at              int
		payload, header string // what comes of a wrong byte in the prelude of either
	}{
		{0, "not-stream", "not-stream"},
		{8, "unsupported", "unsupported"},
		{9, "unsupported", "unsupported"},
		{10, "auth-header", "auth-header"},
		{11, "policy", "auth-header"},
		{12, "auth-header", "auth-header"},
		{43, "auth-header", "auth-header"},
		{44, "auth-header", "auth-header"},
		{75, "auth-header", "auth-header"},
	} {
		add(fmt.Sprintf("payload_prelude_%d", f.at), f.payload, fmt.Sprintf("Byte %d of the payload object's prelude differs from the header's.", f.at), func(v *vector) {
			v.changeObject = flip(f.at)
		})
		add(fmt.Sprintf("header_prelude_%d", f.at), f.header, fmt.Sprintf("Byte %d of the header object's prelude differs from the payload's.", f.at), func(v *vector) {
			v.changeHeader = flip(f.at)
		})
	}
	for _, n := range []int{0, 7, 8, 75, 76, 79, 103} {
		expect := "truncated"
		if n < 8 {
			expect = "not-stream"
		}
		add(fmt.Sprintf("payload_cut_%d", n), expect, fmt.Sprintf("The payload object has only its first %d bytes.", n), func(v *vector) {
			v.changeObject = cut(n)
		})
		add(fmt.Sprintf("header_cut_%d", n), expect, fmt.Sprintf("The header object has only its first %d bytes.", n), func(v *vector) {
			v.changeHeader = cut(n)
		})
	}
	add("payload_of_other_stream", "auth-header", "The payload object of another stream under the same data key.", func(v *vector) {
		other := v.stream
		other.iv = v.random.bytes(32)
		v.changeObject = func([]byte) []byte {
			return concat(other.bound(), other.derive("commitment", 32), concat(other.segments()...))
		}
	})
	add("payload_under_other_prelude", "auth-segment", "The payload object has the header's prelude and another stream's segments.", func(v *vector) {
		other := v.stream
		other.iv = v.random.bytes(32)
		v.segment = 0
		v.changePayload = func([][]byte) [][]byte { return other.segments() }
	})
	add("header_cut", "truncated", "The header object lacks its final byte.", func(v *vector) {
		v.changeHeader = func(h []byte) []byte { return h[:len(h)-1] }
	})
	add("header_trailing", "malformed", "The header object has a byte too many.", func(v *vector) {
		v.changeHeader = func(h []byte) []byte { return append(h, 0) }
	})
	add("header_bad_size", "malformed", "H is 65537 in a detached header.", func(v *vector) {
		v.editBody = put(76, u32(65537))
	})
	add("header_mac", "auth-header", "The header MAC is wrong.", func(v *vector) {
		v.changeHeader = flip(-1)
	})
	add("header_new_data_key", "auth-commitment", "The store put a wrapped key of its own choice into the header object.", func(v *vector) {
		v.keys[0].data = wrapAES(v.readerKeys[0].key, v.random.bytes(32))
	})
	add("header_of_attacker", "auth-header", "A header object for another data key that verifies; the payload object's prelude has the old commitment.", func(v *vector) {
		writer := v.stream
		v.dataKey = v.random.bytes(32)
		v.keys[0].data = wrapAES(v.readerKeys[0].key, v.dataKey)
		v.changeObject = func([]byte) []byte {
			return concat(writer.bound(), writer.derive("commitment", 32), concat(writer.segments()...))
		}
	})
	add("trailing", "auth-segment", "A byte behind the final segment of the payload object.", func(v *vector) {
		v.segment, v.released = 1, 4096
		v.changeObject = func(b []byte) []byte { return append(b, 0) }
	})
	add("trailing_known", "size-mismatch", "A byte behind the final segment of the payload object, the plaintext size in the header.", func(v *vector) {
		v.sizeField, v.released = uint64(len(v.plaintext)), 4096
		v.changeObject = func(b []byte) []byte { return append(b, 0) }
	})
	add("alone", "policy", "One object with the flag of a detached header.", func(v *vector) { v.joined = true })
	c.add("detached_not", "policy", "Two objects, the flag of a detached header not set.", func(v *vector) {
		v.fill(4096 + 100)
		v.split = true
		v.changePayload = func(segs [][]byte) [][]byte {
			return append([][]byte{v.bound(), v.derive("commitment", 32)}, segs...)
		}
	})
}
