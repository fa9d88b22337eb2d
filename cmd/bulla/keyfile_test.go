package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/stream"
)

// rsaPEMs are keys in PEM, made once.
var rsaPEMs = sync.OnceValue(func() (p struct{ private, pkcs1, public, other string }) {
	block := func(kind string, b []byte, err error) string {
		if err != nil {
			panic(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	b, err := x509.MarshalPKCS8PrivateKey(key)
	p.private = block("PRIVATE KEY", b, err)
	p.pkcs1 = block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key), nil)
	b, err = x509.MarshalPKIXPublicKey(&key.PublicKey)
	p.public = block("PUBLIC KEY", b, err)
	if key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		panic(err)
	}
	b, err = x509.MarshalPKCS8PrivateKey(key)
	p.other = block("PRIVATE KEY", b, err)
	return p
})

// inKeyDir moves to a directory with a key of every kind, and the file "f". The
// name of each key is that of its file.
func inKeyDir(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	t.Setenv(keyFileEnv, "")
	want(t, 0, "keygen", "-q", "--name", "aes", "-o", "aes.key")
	for _, kem := range []string{"hpke", "mlkem1024-p384", "mlkem768-p256", "x25519", "p256"} {
		want(t, 0, "keygen", "-q", "--type", kem, "--name", kem, "-o", kem+".key", "--public", kem+".pub")
	}
	write(t, "rsa.key", "text in front\n"+rsaPEMs().private)
	write(t, "rsa.pub", rsaPEMs().public)
	write(t, "phrase", "correct horse\r\nsecond line\n")
	write(t, "f", "text")
	want(t, 0, "keygen", "-q", "-o", "stranger.key")
}

func info(t *testing.T, name string) stream.Info {
	t.Helper()
	info, err := stream.Inspect([]byte(read(t, name)))
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// holders lists the names of the keys that a stream is for.
func holders(t *testing.T, name string) string {
	t.Helper()
	var names []string
	for _, k := range info(t, name).Keys {
		names = append(names, k.Name)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func wantText(t *testing.T, args string) {
	t.Helper()
	if r := want(t, 0, strings.Fields("decrypt -o - "+args)...); r.stdout != "text" {
		t.Errorf("decrypt %s: %+v", args, r)
	}
}

func TestEveryKind(t *testing.T) {
	inKeyDir(t)
	kinds := []struct {
		write []string // any of these writes
		read  string   // and this one reads
		shown string
	}{
		{[]string{"-k aes.key"}, "-k aes.key", `aes "aes", 40 bytes`},
		{[]string{"-k hpke.key", "-r hpke.pub"}, "-k hpke.key", `hpke "hpke", mlkem768-x25519, 1174 bytes`},
		{[]string{"-k mlkem1024-p384.key", "-r mlkem1024-p384.pub"}, "-k mlkem1024-p384.key", `hpke "mlkem1024-p384", mlkem1024-p384, 1719 bytes`},
		{[]string{"-k mlkem768-p256.key", "-r mlkem768-p256.pub"}, "-k mlkem768-p256.key", `hpke "mlkem768-p256", mlkem768-p256, 1207 bytes`},
		{[]string{"-k x25519.key", "-r x25519.pub"}, "-k x25519.key", `hpke "x25519", x25519, 86 bytes`},
		{[]string{"-k p256.key", "-r p256.pub"}, "-k p256.key", `hpke "p256", p256, 119 bytes`},
		{[]string{"-k rsa.key", "-r rsa.pub", "-r rsa=rsa.pub"}, "-k rsa.key", `rsa "rsa", 256 bytes`},
		{[]string{"--passphrase-file phrase"}, "--passphrase-file phrase", `passphrase "", 66 bytes`},
	}
	for i, kind := range kinds {
		for _, w := range kind.write {
			want(t, 0, strings.Fields("encrypt f -f -o f.bulla "+w)...)
			wantText(t, "f.bulla "+kind.read)
			if got := want(t, 0, "inspect", "f.bulla").stdout; !strings.Contains(got, " "+kind.shown+"\n") {
				t.Errorf("%s: inspect shows\n%s", w, got)
			}
			for j, other := range kinds {
				if j != i {
					want(t, exitKey, strings.Fields("decrypt -o - f.bulla "+other.read)...)
				}
			}
			var all []string
			for _, k := range kinds {
				all = append(all, k.read)
			}
			wantText(t, "f.bulla "+strings.Join(all, " "))
		}
	}
	line := strings.TrimSpace(read(t, "hpke.pub"))
	want(t, 0, "encrypt", "f", "-r", line, "-o", "line.bulla")
	wantText(t, "line.bulla -k hpke.key")
	// A name of one's own for a PEM file, which the reader has to use too.
	want(t, 0, "encrypt", "f", "-r", "off site=rsa.pub", "-o", "named.bulla")
	want(t, exitKey, "decrypt", "-o", "-", "named.bulla", "-k", "rsa.key")
	want(t, 0, "decrypt", "-o", "-", "named.bulla", "-k", "off site=rsa.key")
	write(t, "off=1", rsaPEMs().pkcs1)
	want(t, 0, "encrypt", "f", "-k", "off=1", "-o", "whole.bulla")
	if got := holders(t, "whole.bulla"); got != "off=1" {
		t.Errorf("a file whose name has an = gives its key the name %q", got)
	}
}

// Every key of a combination opens the stream alone.
func TestCombinations(t *testing.T) {
	inKeyDir(t)
	for _, c := range []struct {
		write string
		read  []string
		not   []string
	}{
		{
			"-k aes.key -r hpke.pub -r mlkem768-p256.pub --passphrase-file phrase",
			[]string{"-k aes.key", "-k hpke.key", "-k mlkem768-p256.key", "--passphrase-file phrase", "-k stranger.key -k hpke.key"},
			[]string{"-k x25519.key", "-k stranger.key"},
		},
		{"-k x25519.key -r rsa.pub -r p256.pub", []string{"-k x25519.key", "-k rsa.key", "-k p256.key"}, []string{"-k aes.key", "--passphrase-file phrase"}},
		{"-k aes.key -k hpke.key", []string{"-k aes.key"}, []string{"-k hpke.key"}},
		{"-k aes.key -k hpke.key --active hpke", []string{"-k hpke.key"}, []string{"-k aes.key"}},
	} {
		want(t, 0, strings.Fields("encrypt f -f -o f.bulla "+c.write)...)
		for _, keys := range c.read {
			wantText(t, "f.bulla "+keys)
		}
		for _, keys := range c.not {
			want(t, exitKey, strings.Fields("decrypt -o - f.bulla "+keys)...)
		}
	}
}

func TestClassical(t *testing.T) {
	inKeyDir(t)
	for _, c := range []struct {
		code int
		args string
	}{
		{exitUsage, "-r hpke.pub -r x25519.pub"},
		{exitUsage, "-r hpke.pub -r rsa.pub"},
		{exitUsage, "-r hpke.pub -r rsa.pub -r x25519.pub --classical rsa"},
		{exitUsage, "-r hpke.pub -r rsa.pub --classical other"},
		{0, "-r hpke.pub -r rsa.pub --classical rsa"},
		{0, "-r hpke.pub -r rsa.pub -r x25519.pub --classical rsa --classical x25519"},
		{0, "-r rsa.pub -r x25519.pub"},
		{0, "-r hpke.pub -k aes.key --passphrase-file phrase"},
	} {
		r := want(t, c.code, strings.Fields("encrypt f -o - "+c.args)...)
		if c.code != 0 && (r.stdout != "" || !strings.Contains(r.stderr, "--classical NAME")) {
			t.Errorf("%s: %+v", c.args, r)
		}
	}
}

func TestKeyFilesRefused(t *testing.T) {
	inKeyDir(t)
	write(t, "encrypted.pem", string(pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")})))
	write(t, "encrypted1.pem", string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"DEK-Info": "AES-128-CBC,00"}, Bytes: []byte("x")})))
	write(t, "both", read(t, "aes.key")+read(t, "hpke.pub"))
	write(t, "twice", read(t, "aes.key")+"# again\n\n"+read(t, "aes.key"))
	write(t, "comment", "# nothing else\n\n")
	write(t, "empty", "")
	if err := os.Chmod("hpke.pub", 0o600); err != nil {
		t.Fatal(err)
	}
	write(t, "twin", rsaPEMs().other)
	write(t, "aes.pem", rsaPEMs().public)
	for _, dir := range []string{"dir", "dir/sub", "none", "none/.hidden"} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		code int
		args string
		says string
	}{
		{exitKey, "-k encrypted.pem", "openssl pkey -in FILE -out NEWFILE"},
		{exitKey, "-k encrypted1.pem", "openssl pkey -in FILE -out NEWFILE"},
		{exitKey, "-k rsa.pub", "the private one is needed"},
		{exitKey, "-k hpke.pub", "--recipient takes it"},
		{exitKey, "-k both", "both: line 2: "},
		{exitKey, "-k twice", `two keys have the name "aes"`},
		{exitKey, "-k aes.key -r aes=rsa.pub", `two keys have the name "aes"`},
		{exitKey, "-k aes.key -r aes.pem", `two keys have the name "aes"`},
		{exitKey, "-k rsa.key -k rsa=twin", `two keys have the name "rsa"`},
		{exitKey, "-r rsa.key", "openssl pkey -in FILE -pubout"},
		{exitKey, "-r hpke.key", "bulla pubkey"},
		{exitKey, "-r aes.key", "no public part"},
		{exitKey, "-r f", "bulla pubkey"},
		{exitKey, "-k f", "bulla keygen"},
		{exitKey, "-k comment", "there is none in it"},
		{exitKey, "-k empty", "there is none in it"},
		{exitKey, "-r empty", "there is none in it"},
		{exitKey, "-k name=aes.key", "NAME= is for a PEM file"},
		{exitKey, "-r name=hpke.pub", "NAME= is for a PEM file"},
		{exitKey, "-k name=dir", "NAME= is for a PEM file"},
		{exitKey, "-k dir", "directory"},
		{exitKey, "-k none", "holds no key file"},
		{exitKey, "-r dir", "directory"},
		{exitKey, "-r missing", "no such file"},
		{exitKey, "-k name=missing", "no such file"},
		{exitKey, "-r bulla-hpke-public", "no such file"},
		{exitKey, "--passphrase-file missing", "no such file"},
		{exitKey, "--passphrase-file empty", "empty"},
		{exitUsage, "--active aes", "no key"},
		{exitUsage, "--active aes -r hpke.pub", "--key"},
		{exitUsage, "--active other -k aes.key", `"other"`},
		{exitUsage, "--passphrase --passphrase-file phrase", "one of them"},
	} {
		r := want(t, c.code, append([]string{"encrypt", "f", "-o", "-"}, strings.Fields(c.args)...)...)
		if !strings.Contains(r.stderr, c.says) && runtime.GOOS != "windows" || r.stdout != "" {
			t.Errorf("%s: stderr %q lacks %q", c.args, r.stderr, c.says)
		}
		for _, file := range []string{"aes.key", "hpke.key"} {
			if strings.Contains(r.stderr, read(t, file)[20:40]) {
				t.Errorf("%s: the message holds a key", c.args)
			}
		}
	}
	damaged := strings.Replace(strings.TrimSpace(read(t, "hpke.pub")), "public ", "public A", 1)
	want(t, exitKey, "encrypt", "f", "-o", "-", "-r", damaged)
	for _, args := range []string{"-r hpke.pub", "--active aes", "--classical x"} {
		want(t, exitUsage, strings.Fields("decrypt f.bulla -k aes.key "+args)...)
	}
	for _, args := range []string{"-r hpke.pub", "--active aes", "--classical x"} {
		if r := want(t, exitUsage, strings.Fields("cp s3://b/k - -k aes.key "+args)...); !strings.Contains(r.stderr, "no meaning for downloads") {
			t.Errorf("cp %s: %+v", args, r)
		}
	}
	want(t, exitUsage, "decrypt", "f.bulla", "--passphrase", "--passphrase-file", "phrase")
}

// A keyring is a file of several lines, or a directory.
func TestKeyrings(t *testing.T) {
	inKeyDir(t)
	write(t, "ring", "# two keys\n\n"+read(t, "x25519.key")+strings.TrimSuffix(read(t, "aes.key"), "\n")+"\r\n")
	if err := os.MkdirAll("dir/.data", 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, "dir/3", read(t, "p256.key"))
	write(t, "dir/2", read(t, "ring"))
	write(t, "dir/1.pem", read(t, "rsa.key"))
	write(t, "dir/.1.swp", "no key")
	names := map[string]string{"rsa=1": "-k 1=rsa.key", "x25519": "-k x25519.key", "aes": "-k aes.key", "p256": "-k p256.key"}
	for _, c := range []struct{ keys, holder string }{
		{"-k ring", "x25519"},
		{"-k ring --active aes", "aes"},
		{"-k ring --active x25519", "x25519"},
		{"-k dir", "rsa=1"},
		{"-k dir --active aes", "aes"},
		{"-k dir --active p256", "p256"},
		{"-k p256.key -k ring", "p256"},
		{"-k p256.key -k ring --active aes", "aes"},
		{"-r ring.pub", "p256 x25519"},
	} {
		write(t, "ring.pub", "# two\n"+read(t, "p256.pub")+read(t, "x25519.pub"))
		want(t, 0, strings.Fields("encrypt f -f -o f.bulla "+c.keys)...)
		holder := strings.ReplaceAll(c.holder, "rsa=1", "1")
		if got := holders(t, "f.bulla"); got != holder {
			t.Errorf("%s writes for %q, want %q", c.keys, got, holder)
		}
		for _, one := range strings.Fields(c.holder) {
			wantText(t, "f.bulla "+names[one])
		}
		wantText(t, "f.bulla -k dir")
	}
	t.Setenv(keyFileEnv, "dir")
	wantText(t, "f.bulla")
	want(t, 0, "encrypt", "f", "-r", "hpke.pub", "-f", "-o", "f.bulla")
	if got := holders(t, "f.bulla"); got != "hpke" {
		t.Errorf("beside --recipient the environment's key counts: %q", got)
	}
}

// What is secret must be readable by its owner only, what is public need not.
func TestModes(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no mode bits")
	}
	inKeyDir(t)
	if err := os.Mkdir("dir", 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, "dir/a", read(t, "hpke.key"))
	for _, name := range []string{"rsa.key", "hpke.key", "phrase", "dir/a", "rsa.pub", "hpke.pub"} {
		if err := os.Chmod(name, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for args, file := range map[string]string{
		"-k rsa.key": "rsa.key", "-k n=rsa.key": "rsa.key", "-k hpke.key": "hpke.key", "--passphrase-file phrase": "phrase", "-k dir": "dir/a",
		"-r rsa.pub": "", "-r hpke.pub": "",
	} {
		args := append([]string{"encrypt", "f", "-o", "-"}, strings.Fields(args)...)
		if file == "" {
			want(t, 0, args...)
			continue
		}
		if r := want(t, exitKey, args...); !strings.Contains(r.stderr, "chmod 600 "+file) {
			t.Errorf("%q: %s", args, r.stderr)
		}
		want(t, 0, append(args, "--insecure-key-file")...)
	}
	want(t, exitKey, "pubkey", "hpke.key")
	want(t, 0, "pubkey", "hpke.key", "--insecure-key-file")
}

func TestKeygenPairs(t *testing.T) {
	t.Chdir(t.TempDir())
	for kind, kem := range map[string]keywrap.KEM{
		"hpke": keywrap.MLKEM768X25519, "mlkem768-x25519": keywrap.MLKEM768X25519, "mlkem1024-p384": keywrap.MLKEM1024P384,
		"mlkem768-p256": keywrap.MLKEM768P256, "x25519": keywrap.DHKEMX25519, "p256": keywrap.DHKEMP256,
	} {
		r := want(t, 0, "keygen", "--type", kind, "--name", kind+" ü", "-o", kind)
		public, err := keywrap.ParseHPKEPublicKey([]byte(r.stdout))
		if err != nil || public.KEM() != kem || public.KeyName() != kind+" ü" || !strings.Contains(r.stderr, kind) {
			t.Errorf("%s: %v, %+v", kind, err, r)
		}
		private, err := keywrap.ParseHPKEKey([]byte(read(t, kind)))
		if err != nil || private.KEM() != kem {
			t.Errorf("%s: %v", kind, err)
		}
		if stat, err := os.Stat(kind); err != nil || runtime.GOOS != "windows" && stat.Mode() != 0o600 {
			t.Errorf("%s: mode %v, %v", kind, stat.Mode(), err)
		}
		if got := want(t, 0, "pubkey", kind); got.stdout != r.stdout || got.stderr != "" {
			t.Errorf("%s: pubkey prints %+v, keygen %q", kind, got, r.stdout)
		}
		want(t, 0, "keygen", "-q", "--type", kind, "-o", "b", "--public", "b.pub")
		if got := want(t, 0, "pubkey", "b").stdout; got != read(t, "b.pub") {
			t.Errorf("%s: pubkey prints %q, --public wrote %q", kind, got, read(t, "b.pub"))
		}
		before := read(t, "b.pub")
		want(t, exitFailure, "keygen", "--type", kind, "-o", "new", "--public", "b.pub") // a file is in the way
		want(t, exitFailure, "keygen", "--type", kind, "-o", "new", "--public", "new")
		if _, err := os.Stat("new"); err == nil || read(t, "b.pub") != before {
			t.Errorf("%s: half a pair was left, or a file replaced", kind)
		}
		if r := want(t, 0, "keygen", "--type", kind); strings.Count(r.stdout, "\n") != 1 || !strings.HasPrefix(r.stdout, hpkePrivateLine) {
			t.Errorf("%s: on standard output there is more than the private key", kind)
		}
		for _, name := range []string{kind, "b", "b.pub"} {
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	wantFiles(t)
	want(t, 0, "keygen", "-q", "-o", "aes")
	write(t, "rsa", rsaPEMs().private)
	for _, args := range []string{"keygen --type rsa -o x", "keygen --type KEM -o x", "keygen --public x -o y", "keygen --type aes --public x -o y", "pubkey"} {
		want(t, exitUsage, strings.Fields(args)...)
	}
	for _, name := range []string{"aes", "rsa", "missing"} {
		want(t, exitKey, "pubkey", name)
	}
	wantFiles(t, "aes", "rsa")
}

func TestWrongPassphrase(t *testing.T) {
	inKeyDir(t)
	write(t, "wrong", "correct horse ")
	want(t, 0, "encrypt", "f", "--passphrase-file", "phrase")
	if r := want(t, exitKey, "decrypt", "f.bulla", "-o", "-", "--passphrase-file", "wrong"); !strings.Contains(r.stderr, "wrong passphrase") || r.stdout != "" {
		t.Errorf("%+v", r)
	}
	write(t, "bare", "correct horse")
	wantText(t, "f.bulla --passphrase-file bare") // line ends do not count
	p, err := keywrap.NewPassphrase([]byte("correct horse"), &keywrap.PassphraseOptions{Passes: 17, Memory: 32, MaxPasses: 17})
	if err != nil {
		t.Fatal(err)
	}
	dear := encryptFor(t, p)
	write(t, "dear.bulla", dear)
	if r := want(t, exitKey, "decrypt", "dear.bulla", "-o", "-", "--passphrase-file", "phrase"); !strings.Contains(r.stderr, "17 passes") {
		t.Errorf("%+v", r)
	}
}

func encryptFor(t *testing.T, keys keywrap.Wrapper) string {
	t.Helper()
	var b strings.Builder
	w, err := stream.NewEncryptWriter(t.Context(), &b, keys, nil)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(w, "text")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestNameOf(t *testing.T) {
	for path, name := range map[string]string{"a": "a", "a.pem": "a", "d.d/a.b.pem": "a.b", ".pem": ".pem"} {
		if got := nameOf(filepath.FromSlash(path)); got != name {
			t.Errorf("%s: %q, want %q", path, got, name)
		}
	}
}

func TestKindsInS3(t *testing.T) {
	newFakeStore(t)
	inKeyDir(t)
	const object = "s3://bucket/key"
	up := "cp --path-style f " + object + " -r hpke.pub -r rsa.pub --passphrase-file phrase"
	want(t, exitUsage, strings.Fields(up)...)
	want(t, 0, strings.Fields(up+" --classical rsa")...)
	for _, keys := range []string{"-k hpke.key", "-k rsa.key", "--passphrase-file phrase"} {
		for _, command := range []string{"cp " + object + " -", "cat " + object} {
			if r := want(t, 0, strings.Fields(command+" --path-style "+keys)...); r.stdout != "text" {
				t.Errorf("%s %s: %+v", command, keys, r)
			}
			want(t, exitKey, strings.Fields(command+" --path-style -k x25519.key")...)
		}
	}
}
