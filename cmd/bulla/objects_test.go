package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/bulla-format/bulla/stream"
)

// inStore starts a store, and sets up a directory with the key file "key", which
// the environment names, and another, "new".
func inStore(t *testing.T) *fakeStore {
	t.Helper()
	store := newFakeStore(t)
	inTempDir(t)
	t.Setenv(keyFileEnv, "key")
	want(t, 0, "keygen", "-q", "--name", "new", "-o", "new")
	return store
}

// upload stores text at s3://bucket/key.
func upload(t *testing.T, key, text string, args ...string) {
	t.Helper()
	write(t, "f", text)
	want(t, 0, append([]string{"cp", "--path-style", "f", "s3://bucket/" + key}, args...)...)
}

// keys returns the keys of all objects in a bucket.
func (f *fakeStore) keys(bucket string) string {
	var keys []string
	for _, path := range slices.Sorted(maps.Keys(f.objects)) {
		if key, ok := strings.CutPrefix(path, "/"+bucket+"/"); ok {
			keys = append(keys, key)
		}
	}
	return strings.Join(keys, " ")
}

// bullaMany runs a command line on several objects, whose failures are a line
// each.
func bullaMany(t *testing.T, code int, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	r := result{code: run(t.Context(), append(args, "--path-style"), strings.NewReader(""), &stdout, &stderr)}
	r.stdout, r.stderr = stdout.String(), stderr.String()
	if r.code != code {
		t.Fatalf("bulla %q: exit code %d, want %d; stderr: %s", args, r.code, code, r.stderr)
	}
	return r
}

// contains checks that text has each of the lines, or parts of lines.
func contains(t *testing.T, text string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains(text, line) {
			t.Errorf("no %q in\n%s", line, text)
		}
	}
}

// places are the flags of cp for each place of a header.
var places = map[string][]string{
	"in the object":   nil,
	"in the metadata": {"--header-metadata", "--compact-header"},
	"beside":          {"--header-suffix", ".bulla-header"},
	"other suffix":    {"--header-suffix", ".hdr"},
}

// suffixOf returns the flags that a reader needs to find the header.
func suffixOf(place string) []string {
	if place == "other suffix" {
		return []string{"--header-suffix", ".hdr"}
	}
	return nil
}

// Whatever the place of the header, all commands find it.
func TestHeaderPlaces(t *testing.T) {
	text := plaintextOf(100_000)
	for place, flags := range places {
		t.Run(place, func(t *testing.T) {
			store := inStore(t)
			upload(t, "dir/a", text, flags...)
			beside := map[string]string{"beside": " dir/a.bulla-header", "other suffix": " dir/a.hdr"}[place]
			if got := store.keys("bucket"); got != "dir/a"+beside {
				t.Fatalf("the bucket has %q", got)
			}
			do := func(args ...string) result {
				t.Helper()
				return want(t, 0, append(append(args, "--path-style"), suffixOf(place)...)...)
			}
			if r := do("cat", "s3://bucket/dir/a", "--range=65530-65540", "--workers=2"); r.stdout != text[65530:65541] {
				t.Error("cat writes something else")
			}
			do("cp", "s3://bucket/dir/a", "g", "--workers=2")
			if read(t, "g") != text {
				t.Error("another plaintext")
			}
			contains(t, do("inspect", "s3://bucket/dir/a").stdout, " 100000 bytes, declared\n", fmt.Sprintf(" %d bytes\n", len(store.objects["/bucket/dir/a"].body)))
			contains(t, do("ls", "-l", "s3://bucket/dir/").stdout, "2026-02-03 04:05:06          100000 ", "  0  dir/a  for aes ")

			payload := store.objects["/bucket/dir/a"].body
			r := do("rewrap", "s3://bucket/dir/a", "--new-key", "new", "--checksum=crc64nvme")
			contains(t, r.stderr, `s3://bucket/dir/a: generation 1, was 0; for aes "new", 40 bytes; was for aes `, "revokes nothing")
			contains(t, do("rewrap", "s3://bucket/dir/a", "--new-key", "new").stderr, "for these keys already")
			contains(t, do("ls", "-l", "s3://bucket/dir/").stdout, `  1  dir/a  for aes "new"`)
			now := store.objects["/bucket/dir/a"].body
			if !bytes.Equal(now[len(now)-100_000:], payload[len(payload)-100_000:]) || (place != "in the object") != bytes.Equal(now, payload) {
				t.Error("the payload has changed")
			}
			if r := do("cat", "s3://bucket/dir/a", "-k", "new"); r.stdout != text {
				t.Error("another plaintext after the re-wrap")
			}

			do("cp", "s3://bucket/dir/a", "s3://other/b")
			do("mv", "s3://bucket/dir/a", "s3://bucket/c")
			beside = strings.TrimPrefix(beside, " dir/a")
			if beside != "" {
				beside = " *" + beside
			}
			if got := store.keys("other"); got != "b"+strings.ReplaceAll(beside, "*", "b") {
				t.Errorf("the copy is %q", got)
			}
			if got := store.keys("bucket"); got != "c"+strings.ReplaceAll(beside, "*", "c") {
				t.Errorf("moved: %q", got)
			}
			for _, url := range []string{"s3://other/b", "s3://bucket/c"} {
				if r := do("cat", url, "-k", "new"); r.stdout != text {
					t.Errorf("%s has another plaintext", url)
				}
			}
			do("rm", "s3://bucket/c")
			do("rm", "s3://bucket/c")
			if got := store.keys("bucket"); got != "" {
				t.Errorf("rm has left %q", got)
			}
		})
	}
}

func TestLs(t *testing.T) {
	store := inStore(t)
	upload(t, "a", "text")
	upload(t, "a-b", plaintextOf(70_000), "--header-suffix", ".bulla-header")
	upload(t, "dir/c", "text")
	upload(t, "lost", "text", "--header-suffix", ".bulla-header")
	upload(t, "mixed", "text", "--header-suffix", ".bulla-header")
	upload(t, "gone", "text", "--header-suffix", ".bulla-header")
	upload(t, "new\nline\x1b", "text")
	store.objects["/bucket/mixed.bulla-header"] = store.objects["/bucket/lost.bulla-header"]
	delete(store.objects, "/bucket/lost.bulla-header")
	delete(store.objects, "/bucket/gone")
	store.objects["/bucket/plain"] = fakeObject{body: []byte("plain text")}
	store.objects["/bucket/denied"] = store.objects["/bucket/a"]
	store.refuse = func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/denied") }
	for args, lines := range map[string][]string{
		"s3://bucket": {
			"2026-02-03 04:05:06              ~4  a", "2026-02-03 04:05:06          ~70000  a-b", "2026-02-03 04:05:06              ~4  denied",
			"-                               DIR  dir/", "-                                 -  gone  only the header: the object is gone", "2026-02-03 04:05:06               -  lost",
			"2026-02-03 04:05:06              ~4  mixed", "2026-02-03 04:05:06              ~4  \"new\\nline\\x1b\"", "2026-02-03 04:05:06               -  plain",
		},
		"s3://bucket/d":    {"2026-02-03 04:05:06              ~4  denied", "-                               DIR  dir/"},
		"s3://bucket/dir/": {"2026-02-03 04:05:06              ~4  dir/c"},
		"s3://none":        nil,
		"-R -l s3://bucket": {
			"2026-02-03 04:05:06               4            4128   0  a  for aes ",
			"2026-02-03 04:05:06           70000           70132   0  a-b  for aes ",
			"2026-02-03 04:05:06               -            4128   -  denied  s3download: ",
			"2026-02-03 04:05:06               4            4128   0  dir/c  for aes ",
			"-                                 -               -   -  gone  only the header",
			"2026-02-03 04:05:06               -             108   -  lost  the header is missing",
			"2026-02-03 04:05:06               -             108   -  mixed  the header beside it is that of another object",
			"2026-02-03 04:05:06               4            4128   0  \"new",
			"2026-02-03 04:05:06               -              10   -  plain  not encrypted",
		},
	} {
		before := len(store.log)
		r := want(t, 0, append([]string{"ls", "--path-style"}, strings.Fields(args)...)...)
		if n := strings.Count(r.stdout, "\n"); n != len(lines) {
			t.Errorf("ls %s: %d lines, want %d", args, n, len(lines))
		}
		contains(t, r.stdout, lines...)
		if !strings.Contains(args, "-l") && slices.ContainsFunc(store.log[before:], func(s string) bool { return strings.Count(s, "/") > 1 }) {
			t.Errorf("ls %s asks for objects: %q", args, store.log[before:])
		}
	}
	store.refuse = func(r *http.Request) bool { return r.URL.Query().Has("list-type") }
	contains(t, want(t, exitFailure, "ls", "--path-style", "s3://bucket/x").stderr, "s3:ListBucket", "s3://bucket/x")
}

// A batch goes on behind what fails, and says so in the end.
func TestRewrapMany(t *testing.T) {
	store := inStore(t)
	for key, flags := range map[string][]string{
		"dir/a": nil, "dir/b": places["beside"], "dir/c": places["in the metadata"], "dir/sub/d": nil, "outside": nil, "dir/done": {"-k", "new"}, "dir/lost": places["beside"],
		"dir/bad": nil, "dir/gone": places["beside"],
	} {
		upload(t, key, "text of "+key, flags...)
	}
	delete(store.objects, "/bucket/dir/lost.bulla-header")
	delete(store.objects, "/bucket/dir/gone")
	store.objects["/bucket/dir/plain"] = fakeObject{body: []byte("plain text")}
	store.objects["/bucket/dir/bad"].body[4090] ^= 1
	outside := bytes.Clone(store.objects["/bucket/outside"].body)
	r := bullaMany(t, exitFailure, "rewrap", "--recursive", "s3://bucket/dir/", "--new-key", "new")
	contains(t, r.stderr, "s3://bucket/dir/a: generation 1, was 0; ", "s3://bucket/dir/b: generation 1", "s3://bucket/dir/c: generation 1",
		"s3://bucket/dir/done: for these keys already", "s3://bucket/dir/gone: there is only a header", "s3://bucket/dir/lost", "--header-suffix", "s3://bucket/dir/bad", "restore a good copy",
		"9 objects: 1 for these keys already, 1 not encrypted, 4 re-wrapped, 1 with only a header, 2 failed\n", "revokes nothing", "\nbulla: 2 of 9 objects failed\n")
	for _, key := range []string{"dir/a", "dir/b", "dir/c", "dir/sub/d", "dir/done"} {
		if r := want(t, 0, "cat", "--path-style", "-k", "new", "s3://bucket/"+key); key != "dir/done" && r.stdout != "text of "+key {
			t.Errorf("%s: %q", key, r.stdout)
		}
	}
	if !bytes.Equal(store.objects["/bucket/outside"].body, outside) {
		t.Error("an object outside was re-wrapped")
	}
	// Again, with names: what is done stays. All failures of one kind have its
	// exit code.
	r = bullaMany(t, exitUntrusted, "rewrap", "-q", "s3://bucket/dir/a", "s3://bucket/dir/b", "s3://bucket/dir/bad", "--new-key", "new", "--concurrency=1")
	if strings.Count(r.stderr, "\n") != 2 {
		t.Errorf("with --quiet: %s", r.stderr)
	}
	r = bullaMany(t, 0, "rewrap", "s3://bucket/dir/a", "s3://bucket/outside", "--new-key", "new")
	contains(t, r.stderr, "2 objects: 1 for these keys already, 1 re-wrapped\n")
	// Keeping all and adding one can be repeated too.
	want(t, 0, "keygen", "-q", "--name", "third", "-o", "third")
	for _, says := range []string{"1 re-wrapped", "1 for these keys already"} {
		contains(t, bullaMany(t, 0, "rewrap", "-R", "s3://bucket/dir/sub/", "-k", "new", "--keep-all", "--new-key", "third").stderr, says)
	}
	contains(t, bullaMany(t, exitUsage, "rewrap", "-R", "s3://bucket/dir/sub/", "-k", "new", "--keep", "typo").stderr, "typo", "1 failed")
	// A bucket that is not there is one failure.
	store.refuse = func(r *http.Request) bool { return r.URL.Query().Has("list-type") }
	contains(t, bullaMany(t, exitFailure, "rewrap", "-R", "s3://bucket", "--new-key", "new").stderr, "s3:ListBucket", "1 failed")
}

func TestRmMany(t *testing.T) {
	store := inStore(t)
	for key, place := range map[string]string{"dir/a": "in the object", "dir/b": "beside", "dir/sub/c": "in the metadata", "dir-b": "beside", "d": "in the object"} {
		upload(t, key, "text", places[place]...)
	}
	store.objects["/bucket/dir/plain"] = fakeObject{body: []byte("plain text")}
	store.objects["/bucket/dir/z.bulla-header"] = store.objects["/bucket/dir/b.bulla-header"]
	contains(t, want(t, exitFailure, "rm", "--path-style", "s3://bucket/dir/plain").stderr, "not a Bulla stream")
	r := bullaMany(t, 0, "rm", "--recursive", "s3://bucket/dir/")
	contains(t, r.stderr, "s3://bucket/dir/a: deleted\n", "5 objects: 4 deleted, 1 left, which are not encrypted\n")
	if got := store.keys("bucket"); got != "d dir-b dir-b.bulla-header dir/plain" {
		t.Errorf("left: %q", got)
	}
	store.refuse = func(r *http.Request) bool {
		return r.Method == http.MethodDelete && strings.HasSuffix(r.URL.Path, "/d")
	}
	r = bullaMany(t, exitFailure, "rm", "s3://bucket/d", "s3://bucket/dir-b")
	contains(t, r.stderr, "s3:DeleteObject", "2 objects: 1 deleted, 1 failed")
	if got := store.keys("bucket"); got != "d dir/plain" {
		t.Errorf("left: %q", got)
	}
}

// A bound stream is bound to the place of its copy, for which a key is needed.
func TestCopyBound(t *testing.T) {
	store := inStore(t)
	write(t, "ad", "associated data")
	for name, flags := range places {
		flags = append(slices.Clone(flags), "--bind-location", "--associated-data-file=ad")
		upload(t, "a", "text", flags...)
		do := func(code int, args ...string) result {
			t.Helper()
			return want(t, code, append(append(args, "--path-style", "--associated-data-file=ad"), suffixOf(name)...)...)
		}
		t.Setenv(keyFileEnv, "")
		contains(t, do(exitKey, "cp", "s3://bucket/a", "s3://bucket/b").stderr, "--key")
		do(exitKey, "mv", "s3://bucket/a", "s3://bucket/b", "-k", "new")
		do(0, "mv", "s3://bucket/a", "s3://bucket/b", "-k", "key", "--concurrency=2")
		if r := do(0, "cat", "s3://bucket/b", "-k", "key"); r.stdout != "text" {
			t.Errorf("%s: %q", name, r.stdout)
		}
		t.Setenv(keyFileEnv, "key")
		upload(t, "a", "other", flags...)
		contains(t, do(exitFailure, "mv", "s3://bucket/a", "s3://bucket/b").stderr, "choose another place")
		do(exitFailure, "mv", "s3://bucket/none", "s3://bucket/c")
		clear(store.objects)
	}
}

// A rewrap of many objects ends with Ctrl-C, and begins no more.
func TestRewrapManyInterrupted(t *testing.T) {
	store := inStore(t)
	for _, key := range []string{"a", "b", "c", "d", "e"} {
		upload(t, key, "text")
	}
	ctx, cancel := context.WithCancel(t.Context())
	store.before = func(r *http.Request) {
		if r.Method == http.MethodPut {
			cancel()
		}
	}
	var stdout, stderr bytes.Buffer
	code := run(ctx, []string{"rewrap", "-R", "--path-style", "s3://bucket", "--new-key", "new", "--concurrency=1"}, strings.NewReader(""), &stdout, &stderr)
	if code != exitInterrupted || !strings.Contains(stderr.String(), "\nbulla: interrupted") {
		t.Errorf("exit code %d, %s", code, &stderr)
	}
	done := 0
	for path, o := range store.objects {
		info, err := stream.Inspect(o.body)
		if err != nil {
			t.Errorf("%s: %v", path, err)
		}
		done += int(info.Generation)
	}
	if done > 1 {
		t.Errorf("%d objects were re-wrapped", done)
	}
}

// A presigned URL opens an object without credentials, and what is secret of it
// is in no error.
func TestCatURL(t *testing.T) {
	store := inStore(t)
	text := plaintextOf(100_000)
	upload(t, "a", text)
	upload(t, "bound", text, "--bind-location")
	base := ""
	store.before = func(r *http.Request) { base = "http://" + r.Host }
	want(t, 0, "ls", "--path-style", "s3://bucket")
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} {
		t.Setenv(name, "")
	}
	const query = "?X-Amz-Signature=secret"
	if r := want(t, 0, "cat", base+"/bucket/a"+query); r.stdout != text {
		t.Error("another plaintext")
	}
	if r := want(t, 0, "cat", base+"/bucket/bound"+query, "--ignore-location", "--range=99990-"); r.stdout != text[99990:] {
		t.Error("another range")
	}
	for args, code := range map[string]int{
		base + "/bucket/bound" + query:                  exitFailure,
		base + "/bucket/none" + query:                   exitFailure,
		base + "/bucket/a" + query + " --range=100000-": exitFailure,
		base + "/bucket/a" + query + " -k new":          exitKey,
		"http://127.0.0.1:1/a" + query:                  exitFailure,
	} {
		r := want(t, code, append([]string{"cat"}, strings.Fields(args)...)...)
		if url, _, _ := strings.Cut(args, "?"); strings.Contains(r.stderr, "Signature") || !strings.Contains(r.stderr, url) {
			t.Errorf("cat %s: %s", args, r.stderr)
		}
	}
}
