package e2e_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/bulla-format/bulla/e2e/faultproxy"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/s3download"
	"github.com/bulla-format/bulla/s3upload"
)

// largeRuns tells whether tests are to take the sizes that need minutes and tens of gigabytes of disk.
func largeRuns() bool { return os.Getenv("BULLA_E2E_LARGE") != "" }

// A process that uploads is killed at 20 random moments, and each time another one goes on from its journal: the object
// is right, and no more than what was in flight has been sent twice.
func TestKillAndResume(t *testing.T) {
	const part, concurrency = 5 * mib, 5
	size, kills := int64(64*mib), 20
	if testing.Short() {
		kills = 3
	}
	if largeRuns() {
		size = 1024 * mib
	}
	exe := buildProgram(t, "resumable")
	p := newPlace(t)
	secret := bytes.Repeat([]byte{3}, keywrap.AESKeySize)
	key, err := keywrap.NewAESKey("e2e", secret)
	if err != nil {
		t.Fatal(err)
	}
	credentials, err := server.Credentials().Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	command := func(key, journal string) (*exec.Cmd, *bytes.Buffer) {
		cmd := exec.CommandContext(t.Context(), exe, "-url", p.proxy.URL(), "-bucket", p.bucket, "-key", key, "-journal", journal,
			fmt.Sprint("-size=", size), fmt.Sprint("-part=", part))
		cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID="+credentials.AccessKeyID, "AWS_SECRET_ACCESS_KEY="+credentials.SecretAccessKey,
			"WRAPPING_KEY="+hex.EncodeToString(secret))
		var out bytes.Buffer
		cmd.Stderr = &out
		return cmd, &out
	}
	dir := t.TempDir()
	began := time.Now()
	if cmd, out := command("whole", filepath.Join(dir, "whole")); cmd.Run() != nil {
		t.Fatalf("without being killed: %s", out)
	}
	took := time.Since(began)

	var most int64
	finished := 0
	for n := 0; n < kills; n++ {
		name := fmt.Sprint("object-", n)
		journal := filepath.Join(dir, name)
		p.proxy.Reset()
		cmd, out := command(name, journal)
		began := time.Now()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		moment := time.Duration(rand.Int64N(int64(took)))
		kill := time.AfterFunc(moment, func() { cmd.Process.Kill() })
		err := cmd.Wait()
		kill.Stop()
		if _, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || cmd.ProcessState.ExitCode() != -1) {
			t.Fatalf("it failed before it was killed: %v: %s", err, out)
		}
		// One that was killed when it had removed its journal had finished too: there is nothing to resume.
		if _, statErr := os.Stat(journal); err == nil || errors.Is(statErr, os.ErrNotExist) && p.stored(t, name) != nil {
			took = min(took, time.Since(began))
			if finished++; finished > 10*kills {
				t.Fatal("no process is slow enough to be killed")
			}
			n--
			continue
		}
		cmd, out = command(name, journal)
		if err := cmd.Run(); err != nil {
			t.Fatalf("killed after %v of %v: resuming: %v: %s", moment, took, err, out)
		}
		if _, err := os.Stat(journal); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the journal is still there: %v", err)
		}
		o, err := s3download.Open(t.Context(), p.direct, p.get(name), key, nil)
		if err != nil {
			t.Fatal(err)
		}
		check := text(size).CheckFrom(0)
		if _, err := o.WriteTo(check); err != nil || check.Offset() != size {
			t.Fatalf("%d bytes came back: %v", check.Offset(), err)
		}
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
		twice := faultproxy.Sum(p.proxy.Log(), faultproxy.UploadPart).BytesIn - o.Size()
		if most = max(most, twice); twice > concurrency*(part+1*mib) {
			t.Errorf("killed after %v of %v: %d bytes of parts were sent beyond the %d of the plaintext", moment, took, twice, size)
		}
		if _, err := p.direct.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &p.bucket, Key: &name}); err != nil {
			t.Fatal(err)
		}
	}
	// Killed between CreateMultipartUpload and the first line of the journal, an upload is nobody's; a lifecycle rule is
	// for those.
	t.Logf("%d processes were killed, %d had finished, %d uploads have no journal; at most %.1f MiB of parts of a %d MiB upload were sent twice",
		kills, finished, len(p.uploads(t)), float64(most)/mib, size/mib)
}

// An upload that is given up leaves nothing.
func TestAbortResumable(t *testing.T) {
	p := newPlace(t)
	journal := filepath.Join(t.TempDir(), "journal")
	p.proxy.Add(faultproxy.Rule{Op: faultproxy.UploadPart, Nth: 3, Onward: true, Fault: faultproxy.Error(403, "AccessDenied")})
	u := s3upload.New(p.client, p.keys, &s3upload.Options{PartSize: 5 * mib, Concurrency: 1})
	_, err := u.UploadResumable(t.Context(), p.put("key", text(40*mib).Reader()), p.keys, journal)
	e, ok := errors.AsType[*s3upload.UploadError](err)
	if !ok || e.Journal != journal || code(err) != "AccessDenied" || len(p.uploads(t)) != 1 {
		t.Fatalf("error %v, %d uploads", err, len(p.uploads(t)))
	}
	if err := u.AbortResumable(t.Context(), journal); err != nil {
		t.Fatal(err)
	}
	p.nothingLeft(t, "key")
}

// The answer to the request that completes an upload is lost: the object is there, and the journal leads to it. Once the
// upload is neither open nor complete, it leads nowhere.
func TestResumeCompleted(t *testing.T) {
	p := newPlace(t)
	const size = 12 * mib
	journal := filepath.Join(t.TempDir(), "journal")
	p.proxy.Add(faultproxy.Rule{Op: faultproxy.CompleteMultipartUpload, Fault: faultproxy.ResetAfter()})
	u := s3upload.New(p.client, p.keys, &s3upload.Options{PartSize: 5 * mib})
	upload := func() (*s3upload.Result, error) {
		return u.UploadResumable(t.Context(), p.put("key", text(size).Reader()), p.keys, journal)
	}
	_, err := upload()
	if e, ok := errors.AsType[*s3upload.UploadError](err); !ok || e.Journal != journal || !e.MayBeStored {
		t.Fatalf("error %v", err)
	}
	kept, err := os.ReadFile(journal)
	if err != nil {
		t.Fatal(err)
	}
	p.proxy.Reset()
	res, err := upload()
	if err != nil || res.PlaintextSize != size || res.Info.PlaintextSize != size || res.StoredSize != int64(len(p.stored(t, "key"))) || res.ETag == "" {
		t.Fatalf("%+v, %v", res, err)
	}
	if n := faultproxy.Sum(p.proxy.Log(), faultproxy.UploadPart).Requests; n != 0 {
		t.Errorf("%d parts were sent again", n)
	}
	if err := p.read(t, "key", size); err != nil {
		t.Fatal(err)
	}

	if err := os.WriteFile(journal, kept, 0o600); err != nil {
		t.Fatal(err)
	}
	p.store(t, "key", 100, nil)
	if _, err := upload(); !errors.Is(err, s3upload.ErrUploadGone) {
		t.Errorf("another object in its place: %v", err)
	}
}
