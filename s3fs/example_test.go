package s3fs_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/s3fs"
	"github.com/bulla-format/bulla/stream"
)

// What reads files reads encrypted objects.
func ExampleNew() {
	client, keys, stop := store(map[string]string{"site/index.html": "<h1>Hello</h1>", "site/style.css": "h1 { color: teal }"})
	defer stop()

	fsys := s3fs.New(context.Background(), client, "bucket", "site", keys, nil)
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(fsys, name)
		fmt.Printf("%s: %s\n", name, text)
		return err
	})
	fmt.Println(err)
	// Output:
	// index.html: <h1>Hello</h1>
	// style.css: h1 { color: teal }
	// <nil>
}

// Browsers get ranges, conditions and types as of files.
func ExampleNewHandler() {
	client, keys, stop := store(map[string]string{"site/index.html": "<h1>Hello</h1>"})
	defer stop()

	fsys := s3fs.New(context.Background(), client, "bucket", "site", keys, nil)
	server := httptest.NewServer(s3fs.NewHandler(fsys, &s3fs.HandlerOptions{
		OnError: func(r *http.Request, err error) { log.Printf("%s: %v", r.URL.Path, err) },
	}))
	defer server.Close()

	request, err := http.NewRequest(http.MethodGet, server.URL+"/index.html", nil)
	if err != nil {
		log.Fatal(err)
	}
	request.Header.Set("Range", "bytes=4-8")
	response, err := server.Client().Do(request)
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	fmt.Println(response.Status, response.Header.Get("Content-Type"), string(text), err)
	// Output: 206 Partial Content text/html; charset=utf-8 Hello <nil>
}

// store encrypts files into a store of one bucket.
func store(files map[string]string) (client *s3.Client, keys keywrap.Unwrapper, stop func()) {
	key, err := keywrap.GenerateAESKey("example")
	if err != nil {
		log.Fatal(err)
	}
	objects := map[string][]byte{}
	for name, text := range files {
		r, err := stream.NewEncryptReader(context.Background(), bytes.NewReader([]byte(text)), key, nil)
		if err != nil {
			log.Fatal(err)
		}
		if objects["/bucket/"+name], err = io.ReadAll(r); err != nil {
			log.Fatal(err)
		}
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("list-type") {
			fmt.Fprint(w, "<ListBucketResult>")
			for _, name := range slices.Sorted(maps.Keys(objects)) {
				fmt.Fprintf(w, "<Contents><Key>site/%s</Key></Contents>", path.Base(name))
			}
			fmt.Fprint(w, "</ListBucketResult>")
			return
		}
		w.Header().Set("ETag", `"1"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(objects[r.URL.Path]))
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
