package stream_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/stream"
)

func writeFile(t *testing.T, b []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "stream")
	if err := os.WriteFile(name, b, 0o640); err != nil {
		t.Fatal(err)
	}
	return name
}

// only fails the test if the directory of name has other files.
func only(t *testing.T, name string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(name))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != filepath.Base(name) {
			t.Errorf("%s was left behind", e.Name())
		}
	}
}

func TestRewrapFile(t *testing.T) {
	old, current := newAESKey(t, "old"), newAESKey(t, "new")
	for _, size := range edgeSizes {
		for _, compact := range []bool{false, true} {
			plaintext := content(size)
			o := small()
			o.CompactHeader = compact
			stored := encryptFor(t, old, plaintext, o)
			name := writeFile(t, stored)
			info, err := stream.RewrapFile(t.Context(), name, old, current, nil)
			if err != nil {
				t.Fatal(err)
			}
			if info.Generation != 1 || info.Keys[0].Name != "new" {
				t.Errorf("%+v", info)
			}
			after, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			got, _, err := decryptWith(t, current, after, nil)
			check(t, "re-wrapped file", got, err, plaintext)
			if sha256.Sum256(after[info.HeaderSize:]) != sha256.Sum256(stored[headerSize(t, stored):]) {
				t.Error("the payload has changed")
			}
			if stat, err := os.Stat(name); err != nil || stat.Mode() != 0o640 {
				t.Errorf("mode %v, %v", stat.Mode(), err)
			}
			only(t, name)
		}
	}
}

func TestRewrapFileFailures(t *testing.T) {
	old := newAESKey(t, "old")
	stored := encryptFor(t, old, content(10), nil)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for what, c := range map[string]struct {
		content []byte
		ctx     context.Context
		old     keywrap.Unwrapper
		new     keywrap.Wrapper
		want    error
	}{
		"another key":       {stored, t.Context(), newAESKey(t, "x"), old, keywrap.ErrNoMatch},
		"no new key":        {stored, t.Context(), old, nil, stream.ErrPolicy},
		"failing key":       {stored, t.Context(), old, &service{err: errInjected}, errInjected},
		"cut":               {stored[:100], t.Context(), old, old, stream.ErrTruncated},
		"cancelled":         {stored, cancelled, old, old, context.Canceled},
		"changed meanwhile": {stored, t.Context(), old, nil, stream.ErrChanged},
	} {
		name := writeFile(t, c.content)
		if c.want == stream.ErrChanged {
			c.new = wrapperFunc(func() { // while the new key is asked for
				if err := os.WriteFile(name, append(bytes.Clone(stored), 0), 0o640); err != nil {
					t.Error(err)
				}
				c.content = append(bytes.Clone(stored), 0)
			})
		}
		if _, err := stream.RewrapFile(c.ctx, name, c.old, c.new, nil); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", what, err)
		}
		if after, err := os.ReadFile(name); err != nil || !bytes.Equal(after, c.content) {
			t.Errorf("%s: the file has changed, %v", what, err)
		}
		only(t, name)
	}
	if _, err := stream.RewrapFile(t.Context(), filepath.Join(t.TempDir(), "absent"), old, old, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if _, err := stream.RewrapFile(t.Context(), t.TempDir(), old, old, nil); err == nil {
		t.Error("a directory was re-wrapped")
	}
}

// A wrapperFunc is called before it wraps for testKey.
type wrapperFunc func()

func (f wrapperFunc) WrapKey(ctx context.Context, dataKey []byte, ec keywrap.Context) ([]format.WrappedKey, error) {
	f()
	return testKey.WrapKey(ctx, dataKey, ec)
}

func TestRewrapFileFollowsLinks(t *testing.T) {
	name := writeFile(t, encryptFor(t, testKey, []byte("x"), nil))
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(name, link); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.RewrapFile(t.Context(), link, testKey, testKey, nil); err != nil {
		t.Fatal(err)
	}
	if stat, err := os.Lstat(link); err != nil || stat.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link is now %v, %v", stat.Mode(), err)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := stream.Inspect(b); err != nil || info.Generation != 1 {
		t.Errorf("%+v, %v", info, err)
	}
}

// TestRewrapFileKilled kills a process at random moments while it re-wraps a
// file again and again. The file is a whole stream each time.
func TestRewrapFileKilled(t *testing.T) {
	if name := os.Getenv("BULLA_TEST_REWRAP"); name != "" {
		for {
			if _, err := stream.RewrapFile(t.Context(), name, testKey, testKey, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	plaintext := content(2 << 20)
	name := writeFile(t, encryptFor(t, testKey, plaintext, &stream.EncryptOptions{Metadata: map[string]string{"n": "1"}}))
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 0))
	generation, leftOver := uint32(0), 0
	for range 20 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestRewrapFileKilled$")
		cmd.Env = append(os.Environ(), "BULLA_TEST_REWRAP="+name)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30*time.Millisecond + time.Duration(rng.IntN(30_000))*time.Microsecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		cmd.Wait() // it was killed
		after, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		got, info, err := decryptWith(t, testKey, after, nil)
		check(t, "after a kill", got, err, plaintext)
		if info.Generation < generation {
			t.Errorf("generation %d after %d", info.Generation, generation)
		}
		generation = info.Generation
		entries, err := os.ReadDir(filepath.Dir(name))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Name() == filepath.Base(name) {
				continue
			}
			if leftOver++; !strings.HasPrefix(e.Name(), ".bulla-rewrap-") {
				t.Errorf("%s was left behind", e.Name())
			}
			if err := os.Remove(filepath.Join(filepath.Dir(name), e.Name())); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("seed %d: %d re-wraps, %d kills in the middle of one", seed, generation, leftOver)
	if generation == 0 || leftOver == 0 {
		t.Errorf("seed %d: %d re-wraps, %d kills in the middle of one: the test proves little", seed, generation, leftOver)
	}
}
