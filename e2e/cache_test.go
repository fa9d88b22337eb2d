package e2e_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sync/errgroup"

	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/s3download"
	"github.com/bulla-format/bulla/s3upload"
	"github.com/bulla-format/bulla/stream"
)

// 1,000 small uploads cost 1,000 calls of KMS, or with a cache as many as its limit makes of it.
func TestCacheSparesKMSCalls(t *testing.T) {
	const uploads, perKey = 1000, 250
	p := newPlace(t)
	upload := func(prefix string, keys keywrap.Wrapper) (calls int) {
		t.Helper()
		before := len(p.kms.Calls())
		up := s3upload.New(p.direct, keys, &s3upload.Options{Encrypt: &stream.EncryptOptions{CompactHeader: true}})
		var group errgroup.Group
		group.SetLimit(4)
		for i := range uploads {
			group.Go(func() error {
				_, err := up.Upload(t.Context(), &s3.PutObjectInput{Bucket: &p.bucket, Key: new(fmt.Sprint(prefix, i)), Body: strings.NewReader(fmt.Sprint("object ", i))})
				return err
			})
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
		return len(p.kms.Calls()) - before
	}
	if calls := upload("plain/", p.keys); calls != uploads {
		t.Errorf("without a cache: %d calls", calls)
	}
	cache, err := keywrap.NewWrapperCache(p.keys, &keywrap.CacheOptions{MaxStreams: perKey})
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	if calls := upload("cached/", cache); calls != uploads/perKey {
		t.Errorf("with a cache: %d calls, expected %d; %+v", calls, uploads/perKey, cache.Stats())
	}
	for _, key := range []string{"plain/999", "cached/0", "cached/999"} {
		object, err := s3download.Open(t.Context(), p.direct, p.get(key), p.keys, nil)
		if err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		if _, err := object.WriteTo(&got); err != nil || got.String() != "object "+key[strings.Index(key, "/")+1:] {
			t.Errorf("%s: %q, %v", key, got.String(), err)
		}
		object.Close()
	}
}
