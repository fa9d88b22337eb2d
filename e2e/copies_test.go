package e2e_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/bulla-format/bulla/e2e/s3server"
	"github.com/bulla-format/bulla/s3download"
	"github.com/bulla-format/bulla/s3upload"
	"github.com/bulla-format/bulla/stream"
)

// A copier is a program that copies objects, and knows nothing of streams.
type copier struct {
	program          string
	settings         []string // in its environment
	store            string   // what it has before a bucket's name
	copy, move, sync []string // its commands, before the two places

	// inParts is the size, in bytes, of objects that it copies in parts, and then it is not the store that keeps the
	// metadata: version 2 of the AWS CLI does, version 1 does not. Zero means that it has the store copy all in one.
	inParts int64
}

// copiers are those that are tried, with the server's URL and the owner's keys.
func copiers(t *testing.T) []copier {
	t.Helper()
	keys, err := server.Credentials().Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	url := server.URL()
	return []copier{
		{
			program: "aws",
			settings: []string{
				"AWS_ACCESS_KEY_ID=" + keys.AccessKeyID, "AWS_SECRET_ACCESS_KEY=" + keys.SecretAccessKey,
				"AWS_DEFAULT_REGION=" + s3server.Region, "AWS_EC2_METADATA_DISABLED=true",
			},
			store:   "s3://",
			copy:    []string{"--endpoint-url", url, "s3", "cp", "--only-show-errors", "--recursive"},
			move:    []string{"--endpoint-url", url, "s3", "mv", "--only-show-errors", "--recursive"},
			sync:    []string{"--endpoint-url", url, "s3", "sync", "--only-show-errors"},
			inParts: 8 * mib,
		},
		{
			program: "rclone",
			settings: []string{
				"RCLONE_CONFIG_STORE_TYPE=s3", "RCLONE_CONFIG_STORE_PROVIDER=Other",
				"RCLONE_CONFIG_STORE_ACCESS_KEY_ID=" + keys.AccessKeyID, "RCLONE_CONFIG_STORE_SECRET_ACCESS_KEY=" + keys.SecretAccessKey,
				"RCLONE_CONFIG_STORE_REGION=" + s3server.Region, "RCLONE_CONFIG_STORE_ENDPOINT=" + url,
			},
			store: "store:",
			copy:  []string{"copy"},
			move:  []string{"move"},
			sync:  []string{"sync"},
		},
	}
}

// A copied object has its header in one of the headerPlaces, and is small enough for one request or not.
type copied struct {
	key, place string
	size       int64
	bound      bool // to its location
}

func copiedObjects() []copied {
	objects := []copied{{"bound", "in the object", 70_001, true}}
	for place := range headerPlaces {
		objects = append(objects, copied{place + "/small", place, 70_001, false}, copied{place + "/large", place, large, false})
	}
	return objects
}

// What copiers have copied can be decrypted, if they have copied the header; if they have not, or the stream must be
// nowhere else, the error says so.
func TestCopiers(t *testing.T) {
	if testing.Short() {
		t.Skip("there is nothing for the race detector to see in other programs")
	}
	for _, c := range copiers(t) {
		t.Run(c.program, func(t *testing.T) {
			t.Parallel()
			need(t, c.program)
			from, to := newPlace(t), newPlace(t)
			to.keys = from.keys
			for _, o := range copiedObjects() {
				options := headerPlaces[o.place]
				options.BindLocation = o.bound
				from.store(t, "from/"+o.key, o.size, &options)
			}
			do := func(command []string, more ...string) {
				t.Helper()
				run(t, c.settings, c.program, slices.Concat(command, more)...)
			}
			at := func(p *place, prefix string) string { return c.store + p.bucket + "/" + prefix }

			do(c.copy, at(from, "from/"), at(to, "copied/"))
			to.checkCopies(t, &c, "copied/")
			do(c.move, at(to, "copied/"), at(from, "moved/"))
			from.checkCopies(t, &c, "moved/")
			if left := to.stored(t, "copied/beside/small"); left != nil {
				t.Error("after it was moved, an object is still there")
			}
			do(c.copy, "--exclude", "*"+s3upload.DefaultHeaderSuffix, at(from, "from/"), at(to, "alone/"))
			to.checkCopies(t, &c, "alone/")

			dir := t.TempDir()
			do(c.sync, at(from, "from/"), dir)
			from.checkFiles(t, dir)
			do(c.sync, dir, at(to, "synced/"))
			to.checkCopies(t, &c, "synced/")
		})
	}
}

// checkCopies looks at the copies behind prefix: "alone/" are those without the headers beside, "synced/" those that
// were files in between.
func (p *place) checkCopies(t *testing.T, c *copier, prefix string) {
	t.Helper()
	for _, o := range copiedObjects() {
		key := prefix + o.key
		head, err := p.direct.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &p.bucket, Key: &key})
		if err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		has := head.Metadata["bulla-header"] != ""
		mayLose := prefix == "synced/" || c.inParts != 0 && o.size >= c.inParts
		if o.place == "metadata" && !has && !mayLose {
			t.Errorf("%s: the metadata are lost", key)
		}
		var want error
		switch {
		case o.bound:
			want = stream.ErrPolicy
		case o.place == "metadata" && !has, o.place == "beside" && prefix == "alone/":
			want = s3download.ErrNoHeader
		}
		if err := p.read(t, key, o.size); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", key, err, want)
		}
	}
}

// read reads all of an object, which has to be the text of the given size.
func (p *place) read(t *testing.T, key string, size int64) error {
	t.Helper()
	object, err := s3download.Open(t.Context(), p.direct, p.get(key), p.keys, nil)
	if err != nil {
		return err
	}
	defer object.Close()
	check := text(size).CheckFrom(0)
	_, err = io.Copy(check, object)
	if err == nil && check.Offset() != size {
		t.Errorf("%s: %d of %d bytes", key, check.Offset(), size)
	}
	return err
}

// checkFiles decrypts the files that the copies in dir are, as far as they have a header.
func (p *place) checkFiles(t *testing.T, dir string) {
	t.Helper()
	for _, o := range copiedObjects() {
		options := &stream.DecryptOptions{IgnoreLocation: true}
		name := filepath.Join(dir, filepath.FromSlash(o.key))
		switch o.place {
		case "beside":
			header, err := os.ReadFile(headerOf(name))
			if err != nil {
				t.Fatal(err)
			}
			options.DetachedHeader = header
		case "metadata":
			continue
		}
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		r, err := stream.NewDecryptReader(t.Context(), f, p.keys, options)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		check := text(o.size).CheckFrom(0)
		if _, err := io.Copy(check, r); err != nil || check.Offset() != o.size {
			t.Errorf("%s: %d of %d bytes, %v", name, check.Offset(), o.size, err)
		}
	}
}
