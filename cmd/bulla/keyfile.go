package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/bulla-format/bulla/keywrap"
)

// maxKeyFileSize bounds what is read of a file of keys, in bytes.
const maxKeyFileSize = 1 << 20

// How the lines of keys begin.
const (
	aesLine         = "BULLA-AES-256-KEY "
	hpkePrivateLine = "BULLA-HPKE-KEY "
	hpkePublicLine  = "bulla-hpke-public "
)

// A recipient is a public key: what is written for it, it cannot read.
type recipient interface {
	keywrap.Wrapper
	KeyName() string
}

// readKeys reads the private and secret keys of a file, or of every file of a
// directory, in the order of their names. arg may give the key of a PEM file
// its name: NAME=FILE.
func readKeys(arg string, insecure bool) ([]keywrap.Key, error) {
	name, path := splitName(arg)
	entries, err := os.ReadDir(path)
	if err != nil { // not a directory, or what opening the file tells too
		return readKeyFile(name, path, insecure)
	}
	if name != "" {
		return nil, fmt.Errorf("%s is a directory: NAME= is for a PEM file", path)
	}
	var keys []keywrap.Key
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), ".") { // of editors, and of the stores that mount secrets
			continue
		}
		more, err := readKeyFile("", filepath.Join(path, entry.Name()), insecure)
		if err != nil {
			return nil, err
		}
		keys = append(keys, more...)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("the directory %s holds no key file", path)
	}
	return keys, nil
}

func readKeyFile(name, path string, insecure bool) ([]keywrap.Key, error) {
	text, err := readSecret(path, insecure)
	if err != nil {
		return nil, err
	}
	defer clear(text)
	var keys []keywrap.Key
	if isPEM(text) {
		var key *keywrap.RSAKey
		key, err = keywrap.ParseRSAKey(cmp.Or(name, nameOf(path)), text)
		keys = append(keys, key)
	} else {
		keys, err = parseLines(name, text, parseKeyLine)
	}
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	return keys, nil
}

func parseKeyLine(line []byte) (keywrap.Key, error) {
	switch {
	case bytes.HasPrefix(line, []byte(hpkePrivateLine)):
		return keywrap.ParseHPKEKey(line)
	case bytes.HasPrefix(line, []byte(hpkePublicLine)):
		return nil, fmt.Errorf("%w: it is a public key, which writes but does not read; --recipient takes it", keywrap.ErrKeyFormat)
	case bytes.HasPrefix(line, []byte(aesLine)):
		return keywrap.ParseAESKey(line)
	}
	return nil, fmt.Errorf(`%w: neither a line of "bulla keygen" nor PEM`, keywrap.ErrKeyFormat)
}

// readRecipients reads the public keys of a file, or takes arg as the line
// that is one.
func readRecipients(arg string) ([]recipient, error) {
	if strings.HasPrefix(arg, hpkePublicLine) {
		key, err := keywrap.ParseHPKEPublicKey([]byte(arg))
		if err != nil {
			return nil, fmt.Errorf("--recipient: %w", err)
		}
		return []recipient{key}, nil
	}
	name, path := splitName(arg)
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := readAll(file)
	if err != nil {
		return nil, err
	}
	defer clear(text) // it may be the wrong file
	var keys []recipient
	if isPEM(text) {
		var key *keywrap.RSAPublicKey
		key, err = keywrap.ParseRSAPublicKey(cmp.Or(name, nameOf(path)), text)
		keys = append(keys, key)
	} else {
		keys, err = parseLines(name, text, parseRecipientLine)
	}
	if err != nil {
		return nil, fmt.Errorf("public key file %s: %w", path, err)
	}
	return keys, nil
}

func parseRecipientLine(line []byte) (recipient, error) {
	switch {
	case bytes.HasPrefix(line, []byte(hpkePublicLine)):
		return keywrap.ParseHPKEPublicKey(line)
	case bytes.HasPrefix(line, []byte(hpkePrivateLine)):
		return nil, fmt.Errorf(`%w for --recipient: it is a private one; "bulla pubkey FILE" prints its public line`, keywrap.ErrKeyFormat)
	case bytes.HasPrefix(line, []byte(aesLine)):
		return nil, fmt.Errorf("%w for --recipient: it is a secret AES key, which has no public part; --key takes it", keywrap.ErrKeyFormat)
	}
	return nil, fmt.Errorf(`%w: neither a line of "bulla pubkey" nor PEM`, keywrap.ErrKeyFormat)
}

// parseLines parses the keys of a text, one a line. Blank lines and those that
// begin with # are none.
func parseLines[K any](name string, text []byte, parse func(line []byte) (K, error)) ([]K, error) {
	var keys []K
	number := 0
	for line := range bytes.Lines(text) {
		number++
		if len(bytes.TrimSpace(line)) == 0 || line[0] == '#' {
			continue
		}
		key, err := parse(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		keys = append(keys, key)
	}
	switch {
	case len(keys) == 0:
		return nil, fmt.Errorf("%w: there is none in it", keywrap.ErrKeyFormat)
	case name != "":
		return nil, fmt.Errorf("%w by the name %.128q: the line holds the key's name, NAME= is for a PEM file", keywrap.ErrKeyFormat, name)
	}
	return keys, nil
}

// splitName splits NAME=FILE. A file whose own name has an = is found first.
func splitName(arg string) (name, path string) {
	name, path, ok := strings.Cut(arg, "=")
	if _, err := os.Stat(arg); err == nil || !ok || name == "" || path == "" {
		return "", arg
	}
	return name, path
}

// nameOf returns the name of a key that has none: its file's, without what is
// behind the dot.
func nameOf(path string) string {
	base := filepath.Base(path)
	return cmp.Or(strings.TrimSuffix(base, filepath.Ext(base)), base)
}

func isPEM(text []byte) bool {
	const begin = "-----BEGIN "
	return bytes.HasPrefix(text, []byte(begin)) || bytes.Contains(text, []byte("\n"+begin))
}

// readSecret reads a file, unless others than its owner can read it too. The
// caller clears what it returns.
func readSecret(path string, insecure bool) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	// Windows has no such mode bits: there the file's ACL decides.
	if mode := info.Mode().Perm(); !info.IsDir() && mode&0o077 != 0 && !insecure && runtime.GOOS != "windows" {
		return nil, fmt.Errorf("%s has mode %04o, others can use it: run chmod 600 %s, or pass --insecure-key-file", path, mode, path)
	}
	return readAll(file)
}

// readAll reads a file of at most maxKeyFileSize bytes and leaves no copies of
// it behind.
func readAll(file *os.File) ([]byte, error) {
	text := make([]byte, maxKeyFileSize+1)
	n, err := io.ReadFull(file, text)
	if err == nil {
		err = fmt.Errorf("%s is larger than %d bytes: it is no file of keys", file.Name(), maxKeyFileSize)
	} else if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return slices.Clip(text[:n]), nil
	}
	clear(text)
	return nil, err
}
