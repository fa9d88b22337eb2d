package s3download

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"github.com/bulla-format/bulla/keywrap"
)

// ErrExpired means that a presigned URL is of no use any more: get a new one,
// and open that.
var ErrExpired = errors.New("the URL has expired")

// maxRefusal is how much of an answer that is an error is read, in bytes.
const maxRefusal = 16 << 10

// OpenURL opens the encrypted object that a GET request of rawURL answers with,
// like [Open], without credentials of S3: a presigned URL, or any of a server
// that knows ranges and sends ETags. client makes the requests;
// http.DefaultClient if it is nil.
//
// The URL stands for whichever object is there at the time: one that is replaced
// is ErrChanged, also where the bucket keeps versions. Where the stream is bound
// to a location, Options.Decrypt says which one that is, or to ignore it; the
// header of a stream that has it in an object beside is given there too.
//
// A URL that has expired is [ErrExpired], at any read. Errors name the URL
// without its query, which is what a presigned URL keeps secret, and where a
// redirect leads is not told where it comes from.
func OpenURL(ctx context.Context, client *http.Client, rawURL string, keys keywrap.Unwrapper, o *Options) (*Object, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("s3download: it is not the URL of an object: it does not parse, or is not http or https")
	}
	if client == nil {
		client = http.DefaultClient
	}
	c := &urlClient{client: withoutReferer(client), url: u}
	return Open(ctx, c, &s3.GetObjectInput{Bucket: aws.String(u.Host), Key: aws.String(c.key())}, keys, o)
}

// withoutReferer returns client, but that what follows a redirect does not name
// the URL, query and all, to another server.
func withoutReferer(client *http.Client) *http.Client {
	c := *client
	c.CheckRedirect = func(request *http.Request, via []*http.Request) error {
		request.Header.Del("Referer")
		switch {
		case client.CheckRedirect != nil:
			return client.CheckRedirect(request, via)
		case len(via) >= 10: // as net/http has it
			return errors.New("stopped after 10 redirects")
		}
		return nil
	}
	return &c
}

// A urlClient is a Client of the one object that its URL stands for.
type urlClient struct {
	client *http.Client
	url    *url.URL
}

// location is the URL without what is secret of it.
func (c *urlClient) location() string { return c.url.Scheme + "://" + c.url.Host + c.key() }

func (c *urlClient) key() string {
	if path := c.url.EscapedPath(); path != "" {
		return path
	}
	return "/"
}

// GetObject implements Client for the fields that this package sets. Neither
// Range nor If-Match is among what a presigned URL signs.
func (c *urlClient) GetObject(ctx context.Context, in *s3.GetObjectInput, _ ...func(*s3.Options)) (*s3.GetObjectOutput, error) {
	if *in.Key != c.key() {
		return nil, errors.New("a URL is for one object: give the header that stands beside it as Options.Decrypt.DetachedHeader")
	}
	request := (&http.Request{Method: http.MethodGet, URL: c.url, Host: c.url.Host, Header: http.Header{
		"Accept-Encoding": {"identity"},
		"Range":           {*in.Range},
	}}).WithContext(ctx)
	if in.IfMatch != nil {
		request.Header.Set("If-Match", *in.IfMatch)
	}
	response, err := c.client.Do(request)
	if err != nil {
		var withURL *url.Error
		if errors.As(err, &withURL) {
			err = withURL.Err
		}
		return nil, &connectionError{err}
	}
	if response.StatusCode != http.StatusOK && response.StatusCode != http.StatusPartialContent {
		defer response.Body.Close()
		return nil, c.refusal(response)
	}
	return output(response), nil
}

// output is what the SDK would have made of response.
func output(response *http.Response) *s3.GetObjectOutput {
	out := &s3.GetObjectOutput{Body: response.Body, Metadata: map[string]string{}}
	if response.ContentLength >= 0 {
		out.ContentLength = &response.ContentLength
	}
	for name, field := range map[string]**string{
		"Content-Range": &out.ContentRange, "Content-Type": &out.ContentType, "ETag": &out.ETag,
	} {
		if value := response.Header.Get(name); value != "" {
			*field = &value
		}
	}
	if modified, err := http.ParseTime(response.Header.Get("Last-Modified")); err == nil {
		out.LastModified = &modified
	}
	for name, values := range response.Header {
		if name, ok := strings.CutPrefix(name, "X-Amz-Meta-"); ok {
			out.Metadata[strings.ToLower(name)] = values[0]
		}
	}
	return out
}

// A connectionError is the failure to get any answer; another request may.
type connectionError struct{ err error }

func (e *connectionError) Error() string        { return e.err.Error() }
func (e *connectionError) Unwrap() error        { return e.err }
func (e *connectionError) RetryableError() bool { return true }

// A refusal is an answer that is an error, and so a smithy.APIError.
type refusal struct {
	status        int
	Code, Message string // as S3 writes them; may be empty
}

func (e *refusal) HTTPStatusCode() int           { return e.status }
func (e *refusal) ErrorCode() string             { return e.Code }
func (e *refusal) ErrorMessage() string          { return e.Message }
func (e *refusal) ErrorFault() smithy.ErrorFault { return smithy.FaultUnknown }
func (e *refusal) Error() string {
	return strings.TrimSpace(fmt.Sprintf("status %d %s %.64s %.200q", e.status, http.StatusText(e.status), e.Code, e.Message))
}

// refusal returns the error that response is.
func (c *urlClient) refusal(response *http.Response) error {
	e := &refusal{status: response.StatusCode}
	body, _ := io.ReadAll(io.LimitReader(response.Body, maxRefusal)) // what does not come tells nothing
	if xml.Unmarshal(body, e) != nil {
		e.Code, e.Message = "", ""
	}
	denied := e.status == http.StatusForbidden || e.status == http.StatusBadRequest
	if denied && (c.expired(time.Now()) || strings.Contains(e.Code+e.Message, "xpired")) {
		return fmt.Errorf("%w: get a new one: %w", ErrExpired, e)
	}
	return e
}

// expired tells what the URL itself says of its end, as AWS signs it: in version
// 4, and in the older one that CloudFront has too.
func (c *urlClient) expired(now time.Time) bool {
	query := c.url.Query()
	if signed, err := time.Parse("20060102T150405Z", query.Get("X-Amz-Date")); err == nil {
		seconds, err := strconv.ParseInt(query.Get("X-Amz-Expires"), 10, 32)
		return err == nil && now.After(signed.Add(time.Duration(seconds)*time.Second))
	}
	seconds, err := strconv.ParseInt(query.Get("Expires"), 10, 64)
	return err == nil && now.After(time.Unix(seconds, 0))
}
