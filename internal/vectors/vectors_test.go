package vectors

import (
	"strings"
	"testing"
)

// classes are those of SPEC §11. Each has vectors.
var classes = []string{
	"ok", "not-stream", "unsupported", "malformed", "too-large", "policy", "no-key", "unwrap", "auth-commitment",
	"auth-header", "auth-metadata", "context", "truncated", "size-mismatch", "auth-segment",
}

func TestLoad(t *testing.T) {
	count, opened := make(map[string]int), make(map[uint16]int)
	for _, c := range Load(t) {
		count[c.Expect]++
		if area, fault, ok := strings.Cut(c.Name, "_"); !ok || area == "" || fault == "" {
			t.Errorf("%s: the name is not area_fault", c.Name)
		}
		if !strings.HasSuffix(c.Description, ".") {
			t.Errorf("%s: description %q is no sentence", c.Name, c.Description)
		}
		if len(c.DataKey) != 32 {
			t.Errorf("%s: data key of %d bytes", c.Name, len(c.DataKey))
		}
		if c.Expect == "ok" && len(c.Keys) == 1 {
			opened[c.Keys[0].Type]++
		}
		if c.Released.Size > c.Plaintext.Size {
			t.Errorf("%s: released %d bytes of %d", c.Name, c.Released.Size, c.Plaintext.Size)
		}
		if (c.Expect == "auth-segment") != (c.Segment >= 0) {
			t.Errorf("%s: expect %s, segment %d", c.Name, c.Expect, c.Segment)
		}
		if c.Expect == "ok" && (c.ExpectRandom != "ok" || c.Released != c.Plaintext) {
			t.Errorf("%s: valid, but random access %s, released %d bytes of %d", c.Name, c.ExpectRandom, c.Released.Size, c.Plaintext.Size)
		}
		if c.Expect != "ok" && c.ExpectRandom == "ok" {
			t.Errorf("%s: valid for random access alone", c.Name)
		}
	}
	for _, class := range classes {
		if count[class] == 0 {
			t.Errorf("no vector for %s", class)
		}
		delete(count, class)
	}
	for line, kind := range keyTypes {
		if opened[kind] == 0 {
			t.Errorf("no stream that a reader with one %s opens", line)
		}
	}
	for class := range count {
		t.Errorf("%s is no class", class)
	}
}

func TestTables(t *testing.T) {
	for _, s := range KeySchedules(t) {
		if len(s.Epochs) == 0 || len(s.Segments) == 0 || len(s.Prelude) != 76 || len(s.StreamKey) != 64 {
			t.Errorf("suite %d, k = %d: incomplete", s.Suite, s.K)
		}
	}
	for _, s := range Sizes(t).Sizes {
		if s.Stored < s.P+28+s.Plaintext {
			t.Errorf("k = %d: %d bytes stored in %d", s.K, s.Plaintext, s.Stored)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	const rest = "data-key: 00\nplaintext-size: 0\nplaintext-sha256: " + zeros + "\nreleased-size: 0\nreleased-sha256: " + zeros + "\n"
	if _, err := parse("good", []byte("description: x\nexpect: ok\n"+rest+"\nbody")); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"no empty line":   "description: x\nexpect: ok\n" + rest,
		"missing key":     "description: x\n" + rest + "\n",
		"unknown key":     "description: x\nexpect: ok\nexpected: ok\n" + rest + "\n",
		"repeated key":    "description: x\nexpect: ok\nexpect: ok\n" + rest + "\n",
		"line without":    "description: x\nexpect: ok\nnonsense\n" + rest + "\n",
		"bad hexadecimal": "description: x\nexpect: ok\nassociated-data: 0g\n" + rest + "\n",
		"header too long": "description: x\nexpect: ok\nheader-size: 5\n" + rest + "\nbody",
	} {
		if _, err := parse(name, []byte(text)); err == nil {
			t.Errorf("%s: parsed", name)
		}
	}
}

const zeros = "0000000000000000000000000000000000000000000000000000000000000000"
