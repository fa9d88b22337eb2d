package s3upload

import (
	"bytes"
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// A wire is the little of S3's HTTP that an upload needs, with a record of the
// requests. It answers the first attempt of each part with 503.
type wire struct {
	mu       sync.Mutex
	requests []*http.Request
	attempts map[string][][]byte // of each part, the bodies
	listed   []bool              // of each completed part, whether it is listed with a checksum
	object   []byte
}

func (s *wire) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, r)
	part := r.URL.Query().Get("partNumber")
	switch {
	case r.Method == http.MethodPost && r.URL.Query().Has("uploads"):
		fmt.Fprint(w, `<InitiateMultipartUploadResult><UploadId>id</UploadId></InitiateMultipartUploadResult>`)
	case r.Method == http.MethodPut && part != "":
		s.attempts[part] = append(s.attempts[part], body)
		if len(s.attempts[part]) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, `<Error><Code>SlowDown</Code></Error>`)
			return
		}
		w.Header().Set("ETag", strconv.Quote(part))
		if sum := r.Header.Get("x-amz-checksum-crc32"); sum != "" {
			w.Header().Set("x-amz-checksum-crc32", sum)
		}
	case r.Method == http.MethodPut:
		s.object = body
	case r.Method == http.MethodPost:
		var parts struct {
			Part []struct{ PartNumber, ChecksumCRC32 string }
		}
		if err := xml.Unmarshal(body, &parts); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.object = nil
		for _, p := range parts.Part {
			s.object = append(s.object, s.attempts[p.PartNumber][1]...)
			s.listed = append(s.listed, p.ChecksumCRC32 != "")
		}
		fmt.Fprint(w, `<CompleteMultipartUploadResult><ETag>"whole"</ETag></CompleteMultipartUploadResult>`)
	default:
		http.Error(w, "unexpected", http.StatusMethodNotAllowed)
	}
}

// TestChecksumDefault checks that a Client that does not tell its setting is
// taken for one with the SDK's default.
func TestChecksumDefault(t *testing.T) {
	f := newFake()
	if _, err := New(f, testKey, faultOptions(1)).Upload(t.Context(), putInput(bytes.NewReader(pattern(minPartSize)))); err != nil {
		t.Fatal(err)
	}
	if got := f.inputs[0].(*s3.CreateMultipartUploadInput).ChecksumAlgorithm; got != types.ChecksumAlgorithmCrc32 {
		t.Errorf("CreateMultipartUpload announces %q", got)
	}
}

// TestWire uploads with the SDK's client: a part is sealed once, however often
// it is sent, and the client's switch decides on checksums of the parts.
func TestWire(t *testing.T) {
	for _, c := range []struct {
		name      string
		set       aws.RequestChecksumCalculation
		checksums bool
	}{
		{"not set", aws.RequestChecksumCalculationUnset, false},
		{"when required", aws.RequestChecksumCalculationWhenRequired, false},
		{"when supported", aws.RequestChecksumCalculationWhenSupported, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &wire{attempts: map[string][][]byte{}}
			server := httptest.NewServer(s)
			defer server.Close()
			client := s3.New(s3.Options{
				BaseEndpoint: &server.URL, UsePathStyle: true, Region: "us-east-1",
				HTTPClient: server.Client(),
				Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
					return aws.Credentials{AccessKeyID: "id", SecretAccessKey: strings.Repeat("secret-", 6)}, nil
				}),
				RequestChecksumCalculation: c.set,
				Retryer: retry.NewStandard(func(o *retry.StandardOptions) {
					o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
				}),
			})
			f := newFake() // for what it knows of decrypting
			plaintext := pattern(2*minPartSize + 1000)
			in := putInput(bytes.NewReader(plaintext))
			in.ChecksumSHA256 = new(sumOf("ChecksumSHA256", plaintext))
			in.Metadata = map[string]string{"name": "value"}
			res, err := New(client, testKey, &Options{PartSize: minPartSize}).Upload(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			if res.UploadID != "id" || res.ETag != `"whole"` || res.Parts != 3 {
				t.Errorf("result %+v", res)
			}
			f.objects["bucket/dir/key"] = s.object
			f.decrypts(t, plaintext, nil)
			for part, bodies := range s.attempts {
				if len(bodies) != 2 || !bytes.Equal(bodies[0], bodies[1]) {
					t.Errorf("part %s was sent as %d different bodies", part, len(bodies))
				}
			}
			for _, r := range s.requests {
				query := r.URL.Query()
				switch {
				case query.Has("uploads"):
					if got := r.Header.Get("x-amz-checksum-algorithm"); (got == "CRC32") != c.checksums || r.Header.Get("x-amz-meta-name") != "value" {
						t.Errorf("CreateMultipartUpload announces %q: %v", got, r.Header)
					}
				case query.Has("partNumber"):
					if got := r.Header.Get("x-amz-checksum-crc32"); (got != "") != c.checksums {
						t.Errorf("part has checksum %q", got)
					}
				}
				for name := range r.Header {
					if strings.EqualFold(name, "x-amz-checksum-sha256") || strings.EqualFold(name, "Content-MD5") {
						t.Errorf("%s %s has the plaintext's %s", r.Method, r.URL, name)
					}
				}
			}
			if want := []bool{c.checksums, c.checksums, c.checksums}; !slices.Equal(s.listed, want) {
				t.Errorf("parts completed with checksums: %v, expected %v", s.listed, want)
			}
			s.requests = nil
			if _, err := New(client, testKey, nil).Upload(t.Context(), putInput(bytes.NewReader(plaintext[:1000]))); err != nil {
				t.Fatal(err)
			}
			f.objects["bucket/dir/key"] = s.object
			f.decrypts(t, plaintext[:1000], nil)
			if got := s.requests[0].Header.Get("x-amz-checksum-crc32"); len(s.requests) != 1 || (got != "") != c.checksums {
				t.Errorf("%d requests, the first with checksum %q", len(s.requests), got)
			}
		})
	}
}
