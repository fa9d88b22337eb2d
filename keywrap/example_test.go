package keywrap_test

import (
	"context"
	"fmt"
	"log"

	"github.com/bulla-format/bulla/keywrap"
)

// Rotate: the new key in front, the old ones kept for old streams.
func ExampleNewKeyring() {
	old, err := keywrap.GenerateAESKey("2025")
	if err != nil {
		log.Fatal(err)
	}
	current, err := keywrap.GenerateAESKey("2026")
	if err != nil {
		log.Fatal(err)
	}
	keyring, err := keywrap.NewKeyring(current, old)
	if err != nil {
		log.Fatal(err)
	}
	_, wrapped, err := keyring.GenerateKey(context.Background(), nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("new streams are for", wrapped[0].Name)
	// Output: new streams are for 2026
}

// Either of two keys reads the stream.
func ExampleMulti() {
	ours, err := keywrap.GenerateAESKey("ours")
	if err != nil {
		log.Fatal(err)
	}
	escrow, err := keywrap.GenerateAESKey("escrow")
	if err != nil {
		log.Fatal(err)
	}
	_, wrapped, err := keywrap.GenerateKey(context.Background(), keywrap.Multi(ours, escrow), nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, k := range wrapped {
		fmt.Println(k.Type, k.Name)
	}
	// Output:
	// aes ours
	// aes escrow
}

func ExampleParseAESKey() {
	key, err := keywrap.GenerateAESKey("backups-2026")
	if err != nil {
		log.Fatal(err)
	}
	line := key.SecretText() // for a file that only its owner can read

	again, err := keywrap.ParseAESKey(line)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(again)
	// Output: AES wrapping key "backups-2026"
}
