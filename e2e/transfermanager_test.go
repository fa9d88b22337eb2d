package e2e_test

//lint:file-ignore SA1019 manager is deprecated, and what many programs have

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/s3/manager"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/bulla-format/bulla/s3download"
	"github.com/bulla-format/bulla/stream"
)

// An EncryptReader is an io.Reader, so that any uploader takes it: here those of the AWS SDK, the old and the new.
func TestEncryptReaderWithUploadersOfTheSDK(t *testing.T) {
	p := newPlace(t)
	for name, upload := range map[string]func(key string, body io.Reader) error{
		"manager": func(key string, body io.Reader) error {
			up := manager.NewUploader(p.client, func(u *manager.Uploader) { u.PartSize = 5 * mib })
			_, err := up.Upload(t.Context(), &s3.PutObjectInput{Bucket: &p.bucket, Key: &key, Body: body})
			return err
		},
		"transfermanager": func(key string, body io.Reader) error {
			tm := transfermanager.New(p.client, func(o *transfermanager.Options) { o.PartSizeBytes = 5 * mib })
			_, err := tm.UploadObject(t.Context(), &transfermanager.UploadObjectInput{Bucket: &p.bucket, Key: &key, Body: body})
			return err
		},
	} {
		for _, size := range []int{0, 1000, 12*mib + 1} {
			plaintext := bytes.Repeat([]byte{byte(size), 7}, size/2+1)[:size]
			key := fmt.Sprint(name, size)
			r, err := stream.NewEncryptReader(t.Context(), bytes.NewReader(plaintext), p.keys, &stream.EncryptOptions{PlaintextSize: new(int64(size))})
			if err != nil {
				t.Fatal(err)
			}
			if err := upload(key, r); err != nil {
				t.Fatalf("%s, %d bytes: %v", name, size, err)
			}
			object, err := s3download.Open(t.Context(), p.client, &s3.GetObjectInput{Bucket: &p.bucket, Key: aws.String(key)}, p.keys, nil)
			if err != nil {
				t.Fatalf("%s, %d bytes: %v", name, size, err)
			}
			var got bytes.Buffer
			if _, err := object.WriteTo(&got); err != nil || !bytes.Equal(got.Bytes(), plaintext) {
				t.Errorf("%s, %d bytes: %d came back, %v", name, size, got.Len(), err)
			}
			object.Close()
		}
	}
}
