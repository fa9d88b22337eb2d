package s3header

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/bulla-format/bulla/format"
)

func TestDecodeIsTheInverseOfEncode(t *testing.T) {
	header := make([]byte, format.MaxHeaderSize)
	for i := range header {
		header[i] = byte(i * 7)
	}
	for n := range 300 {
		if got, err := Decode(Encode(header[:n])); err != nil || !bytes.Equal(got, header[:n]) {
			t.Errorf("%d bytes: %x, %v", n, got, err)
		}
	}
	if got, err := Decode(Encode(header)); err != nil || !bytes.Equal(got, header) {
		t.Errorf("the largest header: %d bytes, %v", len(got), err)
	}
}

// One header has one value.
func TestDecodeRefused(t *testing.T) {
	header := bytes.Repeat([]byte{0xfb, 0xff, 0x01}, 40)
	header = append(header, 0xfe)
	right := Encode(header)
	if !strings.ContainsAny(right, "-_") {
		t.Fatal("the value would be the same in the standard alphabet")
	}
	for name, value := range map[string]string{
		"padded":             base64.URLEncoding.EncodeToString(header),
		"standard alphabet":  base64.RawStdEncoding.EncodeToString(header),
		"cut in a group":     right[:len(right)-1],
		"loose ends":         right[:len(right)-1] + string(right[len(right)-1]+1),
		"line break":         right[:76] + "\n" + right[76:],
		"line breaks":        right[:76] + "\r\n" + right[76:],
		"line break behind":  right + "\n",
		"white space before": " " + right,
		"not base64":         "what is this?",
		"too long":           Encode(make([]byte, format.MaxHeaderSize+1)),
	} {
		if header, err := Decode(value); !errors.Is(err, format.ErrMalformed) || header != nil || len(err.Error()) > 200 {
			t.Errorf("%s: %x, %v", name, header, err)
		}
	}
}
