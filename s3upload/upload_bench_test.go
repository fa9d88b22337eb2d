package s3upload

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// A sink is a store that reads what it is sent, and forgets it.
type sink struct{ resumeClient }

func drain(body io.Reader) error {
	_, err := io.Copy(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{body})
	return err
}

func (sink) PutObject(_ context.Context, in *s3.PutObjectInput, _ ...func(*s3.Options)) (*s3.PutObjectOutput, error) {
	return &s3.PutObjectOutput{}, drain(in.Body)
}

func (sink) CreateMultipartUpload(context.Context, *s3.CreateMultipartUploadInput, ...func(*s3.Options)) (*s3.CreateMultipartUploadOutput, error) {
	return &s3.CreateMultipartUploadOutput{UploadId: aws.String("upload")}, nil
}

func (sink) UploadPart(_ context.Context, in *s3.UploadPartInput, _ ...func(*s3.Options)) (*s3.UploadPartOutput, error) {
	return &s3.UploadPartOutput{ETag: aws.String("part")}, drain(in.Body)
}

func (sink) CompleteMultipartUpload(context.Context, *s3.CompleteMultipartUploadInput, ...func(*s3.Options)) (*s3.CompleteMultipartUploadOutput, error) {
	return &s3.CompleteMultipartUploadOutput{ETag: aws.String("object")}, nil
}

// BenchmarkUpload measures what an upload takes of the client beside the
// requests: with the SDK's uploader, with a budget and with a journal; from
// memory and from what can only be read.
func BenchmarkUpload(b *testing.B) {
	const size = 256 << 20
	plaintext := bytes.Repeat(pattern(8*minPartSize), 7)[:size]
	for _, source := range []string{"memory", "reader"} {
		for _, way := range []string{"manager", "budget", "journal"} {
			b.Run(fmt.Sprintf("source=%s/way=%s", source, way), func(b *testing.B) {
				b.SetBytes(size)
				b.ReportAllocs()
				o := &Options{}
				if way != "manager" {
					o.Budget = NewBudget(64 << 20)
				}
				u := New(sink{}, testKey, o)
				journal := filepath.Join(b.TempDir(), "journal")
				for b.Loop() {
					in := putInput(bytes.NewReader(plaintext))
					if source == "reader" {
						in.Body, in.ContentLength = plainReader{in.Body}, new(int64(size))
					}
					var err error
					if way == "journal" {
						_, err = u.UploadResumable(b.Context(), in, testKey, journal)
					} else {
						_, err = u.Upload(b.Context(), in)
					}
					if err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
