package kmstest_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms"
)

func TestSignature(t *testing.T) {
	s, _ := start(t, nil)
	replace := func(name, old, new string) func(*http.Request) {
		return func(r *http.Request) {
			v := r.Header.Get(name)
			if !strings.Contains(v, old) {
				t.Fatalf("%s: %s has no %q", name, v, old)
			}
			r.Header.Set(name, strings.Replace(v, old, new, 1))
		}
	}
	set := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	for name, c := range map[string]struct {
		change func(*request)
		want   string
	}{
		"good":               {func(*request) {}, ""},
		"good, second home":  {func(q *request) { q.region = "eu-west-1" }, ""},
		"unsigned header":    {func(q *request) { q.afterwards = set("X-Other", "1") }, ""},
		"four minutes early": {func(q *request) { q.at = q.at.Add(-4 * time.Minute) }, ""},
		"four minutes late":  {func(q *request) { q.at = q.at.Add(4 * time.Minute) }, ""},
		"no content-length": {func(q *request) {
			q.beforeSigning = func(r *http.Request) { r.ContentLength = 0 }
			q.afterwards = func(r *http.Request) { r.ContentLength = int64(len(q.body)) }
		}, ""},

		"expired":        {func(q *request) { q.at = q.at.Add(-6 * time.Minute) }, "InvalidSignatureException"},
		"in the future":  {func(q *request) { q.at = q.at.Add(6 * time.Minute) }, "InvalidSignatureException"},
		"wrong secret":   {func(q *request) { q.secret += "x" }, "InvalidSignatureException"},
		"wrong service":  {func(q *request) { q.service = "s3" }, "InvalidSignatureException"},
		"wrong region":   {func(q *request) { q.region = "mars-north-1" }, "InvalidSignatureException"},
		"unknown key":    {func(q *request) { q.key = "AKIAKMSTEST000000001" }, "UnrecognizedClientException"},
		"session token":  {func(q *request) { q.token = "token" }, "UnrecognizedClientException"},
		"changed target": {func(q *request) { q.afterwards = set("X-Amz-Target", "TrentService.CreateKey") }, "InvalidSignatureException"},
		"changed host":   {func(q *request) { q.afterwards = func(r *http.Request) { r.Host = "kms.us-east-1.amazonaws.com" } }, "InvalidSignatureException"},
		"changed query":  {func(q *request) { q.afterwards = func(r *http.Request) { r.URL.RawQuery = "a=b" } }, "InvalidSignatureException"},
		"changed method": {func(q *request) { q.afterwards = func(r *http.Request) { r.Method = http.MethodPut } }, "InvalidSignatureException"},
		"changed body": {func(q *request) {
			q.afterwards = func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(strings.Replace(q.body, "2", "3", 1))) }
		}, "InvalidSignatureException"},
		"changed signature":  {func(q *request) { q.afterwards = replace("Authorization", "Signature=", "Signature=0") }, "InvalidSignatureException"},
		"other scope region": {func(q *request) { q.afterwards = replace("Authorization", "us-east-1", "eu-west-1") }, "InvalidSignatureException"},
		"other scope date":   {func(q *request) { q.afterwards = replace("Authorization", "/20", "/19") }, "InvalidSignatureException"},
		"host not signed":    {func(q *request) { q.afterwards = replace("Authorization", ";host", "") }, "InvalidSignatureException"},
		"date not signed":    {func(q *request) { q.afterwards = replace("Authorization", ";x-amz-date", "") }, "InvalidSignatureException"},
		"added header":       {func(q *request) { q.afterwards = set("X-Amz-Meta", "1") }, "InvalidSignatureException"},

		"no authorization": {func(q *request) { q.afterwards = func(r *http.Request) { r.Header.Del("Authorization") } }, "MissingAuthenticationTokenException"},
		"other algorithm":  {func(q *request) { q.afterwards = replace("Authorization", "AWS4-HMAC-SHA256", "AWS4-HMAC-MD5") }, "IncompleteSignatureException"},
		"no signature":     {func(q *request) { q.afterwards = replace("Authorization", "Signature=", "X=") }, "IncompleteSignatureException"},
		"field twice":      {func(q *request) { q.afterwards = replace("Authorization", "Signature=", "Signature=0, Signature=") }, "IncompleteSignatureException"},
		"field without =":  {func(q *request) { q.afterwards = replace("Authorization", "Signature=", "Signature") }, "IncompleteSignatureException"},
		"short scope":      {func(q *request) { q.afterwards = replace("Authorization", "/kms", "") }, "IncompleteSignatureException"},
		"other terminator": {func(q *request) { q.afterwards = replace("Authorization", "aws4_request", "aws5_request") }, "IncompleteSignatureException"},
		"no date":          {func(q *request) { q.afterwards = func(r *http.Request) { r.Header.Del("X-Amz-Date") } }, "IncompleteSignatureException"},
	} {
		t.Run(name, func(t *testing.T) {
			q := newRequest("ListAliases", `{"Limit":20}`)
			c.change(q)
			before := len(s.Calls())
			status, got, body := q.send(t, s)
			if got != c.want || (status == http.StatusOK) != (c.want == "") || status >= 500 {
				t.Errorf("got %d %s, want error %q", status, body, c.want)
			}
			calls := s.Calls()[before:]
			if len(calls) != 1 || calls[0].Error != c.want {
				t.Errorf("log: %+v", calls)
			}
		})
	}
}

func TestSignatureOfClient(t *testing.T) {
	s, client := start(t, nil)
	if _, err := client.ListAliases(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	for _, region := range []string{"eu-west-1", "ap-east-1"} {
		cfg := s.Config()
		cfg.Region = region
		_, err := kms.NewFromConfig(cfg).ListAliases(t.Context(), nil)
		want := ""
		if region == "ap-east-1" {
			want = "InvalidSignatureException"
		}
		wantCode(t, err, want)
	}
}

func TestProtocol(t *testing.T) {
	s, _ := start(t, nil)
	for name, c := range map[string]struct {
		change func(*request)
		status int
		want   string
	}{
		"unknown operation": {func(q *request) { q.operation = "Sign" }, 400, "UnknownOperationException"},
		"no prefix": {func(q *request) {
			q.beforeSigning = func(r *http.Request) { r.Header.Set("X-Amz-Target", "ListAliases") }
		}, 400, "UnknownOperationException"},
		"other content type": {func(q *request) { q.contentType = "application/json" }, 400, "UnknownOperationException"},
		"other method":       {func(q *request) { q.method = http.MethodPut }, 400, "UnknownOperationException"},
		"other path":         {func(q *request) { q.beforeSigning = func(r *http.Request) { r.URL.Path = "/x" } }, 400, "UnknownOperationException"},
		"not JSON":           {func(q *request) { q.body = "{" }, 400, "SerializationException"},
		"other type":         {func(q *request) { q.body = `{"Limit":"20"}` }, 400, "SerializationException"},
		"empty":              {func(q *request) { q.body = "" }, 400, "SerializationException"},
		"too large":          {func(q *request) { q.body = `{"x":"` + strings.Repeat("x", 1<<20) + `"}` }, 413, "RequestEntityTooLargeException"},
		"unknown field":      {func(q *request) { q.body = `{"x":"` + strings.Repeat("x", 1<<19) + `"}` }, 200, ""},
	} {
		t.Run(name, func(t *testing.T) {
			q := newRequest("ListAliases", `{}`)
			c.change(q)
			if status, got, body := q.send(t, s); got != c.want || status != c.status {
				t.Errorf("got %d %.200s, want %d %q", status, body, c.status, c.want)
			}
		})
	}
}
