package stream_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"strings"

	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/stream"
)

func ExampleNewEncryptWriter() {
	encrypt := func(dst io.Writer, src io.Reader, keys keywrap.Wrapper) error {
		w, err := stream.NewEncryptWriter(context.Background(), dst, keys, nil)
		if err != nil {
			return err
		}
		defer w.Abort()
		if _, err := io.Copy(w, src); err != nil {
			return err
		}
		return w.Close()
	}

	key, err := keywrap.GenerateAESKey("backups-2026")
	if err != nil {
		log.Fatal(err)
	}
	var stored bytes.Buffer
	if err := encrypt(&stored, strings.NewReader("hello, world"), key); err != nil {
		log.Fatal(err)
	}
	fmt.Println(stored.Len(), "bytes")
	// Output: 4136 bytes
}

func ExampleNewDecryptReader() {
	key, stored := exampleStream("hello, world")

	r, err := stream.NewDecryptReader(context.Background(), bytes.NewReader(stored), key, nil)
	if err != nil {
		log.Fatal(err)
	}
	plaintext, err := io.ReadAll(r)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", plaintext)
	// Output: hello, world
}

func ExampleNewDecryptReaderAt() {
	key, stored := exampleStream("hello, world")

	r, err := stream.NewDecryptReaderAt(context.Background(), bytes.NewReader(stored), int64(len(stored)), key, nil)
	if err != nil {
		log.Fatal(err)
	}
	p := make([]byte, 5)
	if _, err := r.ReadAt(p, 7); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s, of %d bytes\n", p, r.Size())
	// Output: world, of 12 bytes
}

// An EncryptReader is what an uploader reads from.
func ExampleNewEncryptReader() {
	key, err := keywrap.GenerateAESKey("backups-2026")
	if err != nil {
		log.Fatal(err)
	}
	r, err := stream.NewEncryptReader(context.Background(), strings.NewReader("hello, world"), key, &stream.EncryptOptions{
		PlaintextSize: new(int64(12)),
		Context:       keywrap.Context{"tenant": "example"},
		Metadata:      map[string]string{"content-type": "text/plain"},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	n, err := io.Copy(io.Discard, r)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(n, "bytes")
	// Output: 4136 bytes
}

func ExampleInspect() {
	_, stored := exampleStream("hello, world")

	info, err := stream.Inspect(stored)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(info.Suite, info.SegmentSize, info.Keys[0].Type, info.Keys[0].Name)
	// Output: aes-256-gcm 65536 aes backups-2026
}

// A tampered stream gives an error that says where.
func ExampleSegmentError() {
	key, stored := exampleStream(strings.Repeat("hello, world\n", 10_000))
	stored[100_000] ^= 1

	r, err := stream.NewDecryptReader(context.Background(), bytes.NewReader(stored), key, nil)
	if err != nil {
		log.Fatal(err)
	}
	n, err := io.Copy(io.Discard, r)
	fmt.Println(n, "bytes, then", err)
	// Output: 65536 bytes, then segment 1 (plaintext offset 65536): authentication failed
}

func exampleStream(plaintext string) (*keywrap.AESKey, []byte) {
	key, err := keywrap.GenerateAESKey("backups-2026")
	if err != nil {
		log.Fatal(err)
	}
	r, err := stream.NewEncryptReader(context.Background(), strings.NewReader(plaintext), key, nil)
	if err != nil {
		log.Fatal(err)
	}
	stored, err := io.ReadAll(r)
	if err != nil {
		log.Fatal(err)
	}
	return key, stored
}
