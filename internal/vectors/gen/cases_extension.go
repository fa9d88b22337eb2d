package main

import (
	"fmt"
	"strings"
)

// extensions adds streams with one fault in an extension, all under a right
// header MAC unless their description says otherwise.
func (c *set) extensions() {
	c.extensionFields()
	c.pairLists()
	c.requirements()
	c.metadata()
}

func (c *set) extensionFields() {
	for _, f := range []struct {
		name, expect, description string
		exts                      []extension
	}{
		{"extension_type_0000", "malformed", "Type 0000.", []extension{{0, []byte("x")}}},
		{"extension_type_8000", "malformed", "Type 8000.", []extension{{0x8000, []byte("x")}}},
		{"extension_twice", "malformed", "The same type twice.", []extension{{0x7F01, []byte("x")}, {0x7F01, []byte("x")}}},
		{"extension_descending", "malformed", "Types that descend.", []extension{{0x7F02, []byte("x")}, {0x7F01, []byte("x")}}},
		{"extension_critical", "unsupported", "An unknown critical extension.", []extension{{0xFF01, []byte("x")}}},
		{"extension_critical_context", "unsupported", "Type 8002, which is not the sealed metadata.", []extension{{0x8002, []byte("x")}}},
		{"location_empty", "malformed", "An empty location.", []extension{{0x8003, nil}}},
		{"location_utf8", "malformed", "A location that is not UTF-8.", []extension{{0x8003, []byte("s3://b/\xff")}}},
	} {
		c.add(f.name, f.expect, f.description, func(v *vector) {
			v.exts = f.exts
			v.fill(100)
		})
	}
	for _, n := range []int64{1<<32 - 1, 1 << 31, 65536, 4} {
		c.add(fmt.Sprintf("extension_size_%x", n), "malformed", "The value size of an extension of 3 bytes reaches beyond the fields' end.", func(v *vector) {
			v.exts = []extension{{0x7F01, []byte("one")}}
			v.fill(100)
			v.editBody = func(h []byte) []byte { return put(v.extensionsOffset()+4, u32(n))(h) }
		})
	}
}

func (c *set) pairLists() {
	for _, f := range []struct {
		name, description string
		list              []byte
	}{
		{"empty", "no pair", nil},
		{"key_empty", "an empty key", pairs("", "v")},
		{"descending", "keys that descend", pairs("b", "1", "a", "2")},
		{"twice", "the same key twice", pairs("a", "1", "a", "2")},
		{"prefix_order", "a key behind the one that it begins", pairs("ab", "1", "a", "2")},
		{"one_byte", "one byte alone", []byte{0}},
		{"trailing", "one byte behind the pairs", append(pairs("a", "1"), 0)},
		{"no_value", "a key without a value", pairs("a")},
		{"value_cut", "a value that is cut", pairs("a", "123")[:6]},
		{"key_size_over", "a key size beyond the end", append([]byte{0xff, 0xff}, "abc"...)},
		{"key_utf8", "a key that is not UTF-8", pairs("a\xff", "1")},
		{"value_utf8", "a value that is not UTF-8", pairs("a", "\xed\xbf\xbf")},
	} {
		c.add("context_"+f.name, "malformed", "The context has "+f.description+".", func(v *vector) {
			v.exts = []extension{{0x8001, f.list}}
			v.fill(100)
		})
		c.add("metadata_"+f.name, "malformed", "The sealed metadata, once opened, has "+f.description+".", func(v *vector) {
			v.exts = []extension{{0x0002, v.sealMetadata(f.list)}}
			v.fill(100)
		})
	}
}

func (c *set) requirements() {
	for _, f := range []struct {
		name, description string
		require           map[string]string
	}{
		{"missing", "The reader requires a pair that is not there.", map[string]string{"tenant": "a", "zone": "z"}},
		{"different", "The reader requires another value.", map[string]string{"tenant": "b"}},
		{"empty_value", "The reader requires a key that is not there with an empty value.", map[string]string{"zone": ""}},
	} {
		c.add("context_"+f.name, "context", f.description, func(v *vector) {
			v.withContext("tenant", "a")
			v.requireContext = f.require
			v.fill(100)
		})
	}
	c.add("context_none", "context", "The reader requires a pair, the header has no context.", func(v *vector) {
		v.requireContext = map[string]string{"tenant": "a"}
		v.fill(100)
	})
	c.add("context_changed", "auth-header", "A value of the context was changed, not under a right MAC, to what the reader requires.", func(v *vector) {
		v.withContext("tenant", "a")
		v.requireContext = map[string]string{"tenant": "b"}
		v.fill(100)
		v.changeHeader = func(h []byte) []byte { return put(len(h)-macSize-1, []byte("b"))(h) }
	})
	c.add("location_other", "policy", "The reader is at another location.", func(v *vector) {
		v.exts = []extension{{0x8003, []byte("s3://bucket/key")}}
		v.location = "s3://bucket/Key"
		v.fill(100)
	})
	c.add("location_prefix", "policy", "The reader's location begins with the header's.", func(v *vector) {
		v.exts = []extension{{0x8003, []byte("s3://bucket/key")}}
		v.location = "s3://bucket/key2"
		v.fill(100)
	})
	c.add("location_not_given", "policy", "The reader does not know where it is and does not accept any location.", func(v *vector) {
		v.exts = []extension{{0x8003, []byte("s3://bucket/key")}}
		v.fill(100)
	})
	c.add("ad_wrong", "auth-commitment", "The reader has other associated data.", func(v *vector) {
		v.withAD("invoice 2291")
		v.readerAD = []byte("invoice 2292")
		v.fill(100)
	})
	c.add("ad_missing", "policy", "The stream needs associated data, the reader has none.", func(v *vector) {
		v.withAD("invoice 2291")
		v.readerAD = []byte{}
		v.fill(100)
	})
	c.add("ad_unexpected", "policy", "The reader has associated data, the stream needs none.", func(v *vector) {
		v.readerAD = []byte("invoice 2291")
		v.fill(100)
	})
	c.add("ad_flag_set", "policy", "The flag for associated data was set; the reader has none.", func(v *vector) {
		v.fill(100)
		v.change = put(11, []byte{flagAssociatedData})
	})
	c.add("ad_flag_cleared", "policy", "The flag for associated data was cleared; the reader has some.", func(v *vector) {
		v.withAD("invoice 2291")
		v.fill(100)
		v.change = put(11, []byte{0})
	})
}

func (c *set) metadata() {
	for _, n := range []int{0, 12, 28} {
		c.add(fmt.Sprintf("metadata_size_%d", n), "malformed", fmt.Sprintf("Sealed metadata of %d bytes.", n), func(v *vector) {
			v.exts = []extension{{0x0002, v.random.bytes(n)}}
			v.fill(100)
		})
	}
	for _, at := range []int{0, 12, -1} {
		c.add("metadata_byte_"+strings.Replace(fmt.Sprint(at), "-1", "end", 1), "auth-metadata", "One bit of the sealed metadata is wrong.", func(v *vector) {
			v.withMetadata("name", "report.txt")
			flip(at)(v.exts[0].value)
			v.fill(100)
		})
	}
	c.add("metadata_of_other_stream", "auth-metadata", "The sealed metadata of another stream under the same data key.", func(v *vector) {
		other := v.stream
		other.iv = v.random.bytes(32)
		v.exts = []extension{{0x0002, other.sealMetadata(pairs("name", "report.txt"))}}
		v.fill(100)
	})
	c.add("metadata_cut", "auth-metadata", "The sealed metadata lacks its final byte.", func(v *vector) {
		v.withMetadata("name", "report.txt")
		value := v.exts[0].value
		v.exts[0].value = value[:len(value)-1]
		v.fill(100)
	})
}
