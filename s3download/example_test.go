package s3download_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/s3download"
	"github.com/bulla-format/bulla/stream"
)

// A range of an object's plaintext costs what stores the range, not what
// stores the object.
func ExampleOpen() {
	client, keys, stop := store(bytes.Repeat([]byte("0123456789"), 1e6))
	defer stop()

	ctx := context.Background()
	object, err := s3download.Open(ctx, client, &s3.GetObjectInput{
		Bucket: aws.String("bucket"),
		Key:    aws.String("digits"),
	}, keys, &s3download.Options{Prefetch: s3download.Range{Offset: 5_000_003, Length: 4}})
	if err != nil {
		log.Fatal(err)
	}
	defer object.Close()

	p := make([]byte, 4)
	if _, err := object.ReadAt(p, 5_000_003); err != nil {
		log.Fatal(err)
	}
	stats := object.Stats()
	fmt.Printf("%s of %d bytes, %d requests for %d bytes\n", p, object.Size(), stats.Requests, stats.Bytes)
	// Output: 3456 of 10000000 bytes, 2 requests for 73680 bytes
}

// A file gets its name once all of it is authentic.
func ExampleObject_DownloadTo() {
	client, keys, stop := store([]byte("the whole object"))
	defer stop()

	download := func(ctx context.Context, name string) (err error) {
		object, err := s3download.Open(ctx, client, &s3.GetObjectInput{
			Bucket: aws.String("bucket"),
			Key:    aws.String("key"),
		}, keys, nil)
		if err != nil {
			return err
		}
		defer object.Close()
		file, err := os.CreateTemp(".", name+".*")
		if err != nil {
			return err
		}
		defer func() {
			if err != nil {
				os.Remove(file.Name())
			}
		}()
		if err := errors.Join(object.DownloadTo(ctx, file), file.Sync(), file.Close()); err != nil {
			return err
		}
		return os.Rename(file.Name(), name)
	}

	const name = "example.out"
	defer os.Remove(name)
	if err := download(context.Background(), name); err != nil {
		log.Fatal(err)
	}
	b, err := os.ReadFile(name)
	fmt.Println(string(b), err)
	// Output: the whole object <nil>
}

// store encrypts plaintext into a store of one object.
func store(plaintext []byte) (client *s3.Client, keys keywrap.Unwrapper, stop func()) {
	key, err := keywrap.GenerateAESKey("example")
	if err != nil {
		log.Fatal(err)
	}
	size := int64(len(plaintext))
	r, err := stream.NewEncryptReader(context.Background(), bytes.NewReader(plaintext), key, &stream.EncryptOptions{PlaintextSize: &size})
	if err != nil {
		log.Fatal(err)
	}
	stored, err := io.ReadAll(r)
	if err != nil {
		log.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"1"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(stored))
	}))
	transport := &http.Transport{}
	client = s3.New(s3.Options{
		BaseEndpoint: &server.URL,
		Region:       "us-east-1",
		UsePathStyle: true,
		Credentials:  credentials.NewStaticCredentialsProvider("id", "secret", ""),
		HTTPClient:   &http.Client{Transport: transport},
	})
	return client, key, func() {
		transport.CloseIdleConnections()
		server.Close()
	}
}
