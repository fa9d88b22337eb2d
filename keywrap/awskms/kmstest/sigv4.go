package kmstest

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

const (
	signingAlgorithm = "AWS4-HMAC-SHA256"
	signingTime      = "20060102T150405Z"
	signingWindow    = 5 * time.Minute
)

// authorization is the Authorization header of Signature Version 4.
type authorization struct {
	accessKeyID   string
	date          string // YYYYMMDD
	region        string
	service       string
	signedHeaders []string
	signature     string
}

func parseAuthorization(header string) (a authorization, ok bool) {
	rest, ok := strings.CutPrefix(header, signingAlgorithm+" ")
	if !ok {
		return a, false
	}
	fields := make(map[string]string)
	for part := range strings.SplitSeq(rest, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if _, dup := fields[name]; !ok || dup {
			return a, false
		}
		fields[name] = value
	}
	scope := strings.Split(fields["Credential"], "/")
	if len(fields) != 3 || len(scope) != 5 || scope[4] != "aws4_request" ||
		fields["SignedHeaders"] == "" || fields["Signature"] == "" {
		return a, false
	}
	return authorization{
		accessKeyID: scope[0], date: scope[1], region: scope[2], service: scope[3],
		signedHeaders: strings.Split(fields["SignedHeaders"], ";"),
		signature:     fields["Signature"],
	}, true
}

// authenticate returns the Region that the request is signed for, or an error
// if its signature is not that of [AccessKeyID] over the request and body at
// about the present time.
func (s *Server) authenticate(r *http.Request, body []byte) (*region, error) {
	header := r.Header.Get("Authorization")
	if header == "" {
		return nil, fail("MissingAuthenticationTokenException", "Missing Authentication Token")
	}
	a, ok := parseAuthorization(header)
	if !ok {
		return nil, fail("IncompleteSignatureException", "Authorization header is not a complete %s signature.", signingAlgorithm)
	}
	// The only credentials are long-lived: a request with a session token has
	// others.
	if a.accessKeyID != AccessKeyID || r.Header.Get("X-Amz-Security-Token") != "" {
		return nil, fail("UnrecognizedClientException", "The security token included in the request is invalid.")
	}
	reg, ok := s.regions[a.region]
	if !ok {
		return nil, fail("InvalidSignatureException", "Credential should be scoped to a valid region.")
	}
	if a.service != "kms" {
		return nil, fail("InvalidSignatureException", "Credential should be scoped to correct service: 'kms'.")
	}
	signed, err := checkDate(r.Header.Get("X-Amz-Date"), a.date)
	if err != nil {
		return nil, err
	}
	if !signsAll(r.Header, a.signedHeaders) {
		return nil, fail("InvalidSignatureException", "There were headers present in the request which were not signed.")
	}
	want, err := s.sign(r, body, &a, signed)
	if err != nil {
		return nil, fail("InvalidSignatureException", "The request cannot be signed.")
	}
	if subtle.ConstantTimeCompare([]byte(want), []byte(a.signature)) != 1 {
		return nil, fail("InvalidSignatureException", "The request signature we calculated does not match the signature you provided. "+
			"Check your AWS Secret Access Key and signing method. Consult the service documentation for details.")
	}
	return reg, nil
}

func checkDate(header, scope string) (time.Time, error) {
	signed, err := time.Parse(signingTime, header)
	if err != nil {
		return signed, fail("IncompleteSignatureException", "X-Amz-Date is missing or not of the form %s.", signingTime)
	}
	if scope != header[:8] {
		return signed, fail("InvalidSignatureException", "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP.")
	}
	now := time.Now().UTC()
	if oldest := now.Add(-signingWindow); signed.Before(oldest) {
		return signed, fail("InvalidSignatureException", "Signature expired: %s is now earlier than %s (%s - 5 min.)",
			header, oldest.Format(signingTime), now.Format(signingTime))
	}
	if newest := now.Add(signingWindow); signed.After(newest) {
		return signed, fail("InvalidSignatureException", "Signature not yet current: %s is still later than %s (%s + 5 min.)",
			header, newest.Format(signingTime), now.Format(signingTime))
	}
	return signed, nil
}

// signsAll reports whether the signature covers the host and every header that
// selects what the request does.
func signsAll(h http.Header, signed []string) bool {
	if !slices.Contains(signed, "host") || !slices.Contains(signed, "x-amz-date") {
		return false
	}
	for name := range h {
		name = strings.ToLower(name)
		if strings.HasPrefix(name, "x-amz-") && !slices.Contains(signed, name) {
			return false
		}
	}
	return true
}

// sign returns the signature that the SDK's own signer makes over the request
// reduced to its signed headers.
func (s *Server) sign(r *http.Request, body []byte, a *authorization, at time.Time) (string, error) {
	clone := &http.Request{
		Method: r.Method,
		URL:    &url.URL{Scheme: "http", Host: r.Host, Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery},
		Host:   r.Host,
		Header: make(http.Header),
	}
	for _, name := range a.signedHeaders {
		switch name {
		case "host":
		case "content-length": // the signer takes it from the request
			clone.ContentLength = int64(len(body))
		default:
			name = textproto.CanonicalMIMEHeaderKey(name)
			clone.Header[name] = slices.Clone(r.Header[name])
		}
	}
	hash := sha256.Sum256(body)
	credentials := aws.Credentials{AccessKeyID: AccessKeyID, SecretAccessKey: SecretAccessKey}
	err := s.signer.SignHTTP(r.Context(), credentials, clone, hex.EncodeToString(hash[:]), a.service, a.region, at)
	if err != nil {
		return "", err
	}
	b, ok := parseAuthorization(clone.Header.Get("Authorization"))
	if !ok {
		return "", fail("InvalidSignatureException", "The signer's header is incomplete.")
	}
	return b.signature, nil
}
