package s3upload

import (
	"bytes"
	"context"
	"crypto/hmac"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/stream"
)

// A resumeClient is what it takes to go on with an upload.
type resumeClient interface {
	RewrapClient
	ListParts(context.Context, *s3.ListPartsInput, ...func(*s3.Options)) (*s3.ListPartsOutput, error)
}

// UploadResumable is Upload with a journal: a small file of the given name, from
// which the same call goes on after a crash, a failure or a cancelled context.
// If the file does not exist, the upload is a new one, and an object that one
// part holds is sent without a journal. After success the file is removed; after
// a failure the multipart upload stays, and its parts are billed until it is
// resumed or given up with [AbortResumable].
//
// Body is the same plaintext from its beginning each time. All of it is read
// again, and compared with MACs in the journal, so that no object is put
// together from two plaintexts: one that changed is [ErrSourceChanged]. What
// the store has already, which is asked with ListParts, is not sent again. The
// data key is unwrapped from the journal with keys, which are tried at the
// beginning of a new upload too. in is as for a new upload; what
// CreateMultipartUpload took of it then, such as its metadata, stays, and so does
// what Options.Encrypt said of the stream. Parts hold whole segments, and so are
// not of exactly Options.PartSize bytes.
//
// The MACs take HMAC-SHA-256 over the plaintext. The journal holds no key and
// nothing of the plaintext; who can change it can make the upload fail.
//
// Errors before the first request are also those of stream.OpenSealer, and
// [ErrJournal]. [ErrUploadGone] means that the upload can be resumed no more.
// The client needs the methods of a [RewrapClient] and ListParts, as *s3.Client has them.
func (u *Uploader) UploadResumable(ctx context.Context, in *s3.PutObjectInput, keys keywrap.Unwrapper, journal string) (*Result, error) {
	if _, ok := u.client.(resumeClient); !ok {
		return nil, invalid("UploadResumable needs a Client with the methods of a RewrapClient and ListParts, as *s3.Client has them")
	}
	p, err := u.prepare(in)
	if err != nil {
		return nil, err
	}
	j, err := openJournal(journal)
	if err != nil {
		return nil, fmt.Errorf("s3upload: %w", err)
	}
	defer j.close()
	if j.file != nil && (j.HeaderSuffix != u.options.HeaderSuffix || j.HeaderInMetadata != u.options.HeaderInMetadata) {
		return nil, fmt.Errorf("s3upload: %w: %.512q was begun with the header in another place: HeaderSuffix and HeaderInMetadata must be as then", ErrJournal, j.name)
	}
	sealer, err := p.sealer(ctx, u.keys, keys, j)
	if err != nil {
		return nil, err
	}
	defer sealer.Close()
	s, err := u.newSender(ctx, p, sealer)
	if err != nil {
		return nil, err
	}
	defer s.t.stop()
	s.journal = j
	if j.file == nil {
		// So that it does not turn out after a crash that keys are the wrong ones.
		again, err := stream.OpenSealer(ctx, s.header, keys, p.encrypt.AssociatedData)
		if err != nil {
			return nil, fmt.Errorf("s3upload: the upload could not be resumed with these keys: %w", err)
		}
		again.Close()
	} else if res, err := s.resume(ctx); res != nil || err != nil {
		return res, err
	}
	res, err := u.send(ctx, s)
	if err == nil && j.file != nil {
		j.remove() // if it stays, the next call finds the object complete
	}
	return res, err
}

// sealer returns the Sealer of a new stream, or of the one that the journal is
// about.
func (p *prepared) sealer(ctx context.Context, wrapper keywrap.Wrapper, unwrapper keywrap.Unwrapper, j *journal) (*stream.Sealer, error) {
	if j.file == nil {
		sealer, err := stream.NewSealer(ctx, wrapper, p.encrypt)
		if err != nil {
			return nil, fmt.Errorf("s3upload: %w", err)
		}
		return sealer, nil
	}
	if j.Bucket != *p.put.Bucket || j.Key != *p.put.Key {
		return nil, fmt.Errorf("s3upload: %w: %.512q is of s3://%.64s/%.1024s", ErrJournal, j.name, j.Bucket, j.Key)
	}
	info, err := stream.Inspect(j.Header)
	if err != nil {
		return nil, fmt.Errorf("s3upload: %w", j.damaged("its header: %v", err))
	}
	if info.Detached != p.encrypt.Detached { // though the places agree
		return nil, fmt.Errorf("s3upload: %w", j.damaged("its header is for another place"))
	}
	if size := p.encrypt.PlaintextSize; info.PlaintextSize != format.UnknownSize && (size == nil || *size != info.PlaintextSize) {
		return nil, fmt.Errorf("s3upload: %w: it had %d bytes when the journal %.512q was begun", ErrSourceChanged, info.PlaintextSize, j.name)
	}
	if info.PlaintextSize == format.UnknownSize {
		p.encrypt.PlaintextSize = nil
	}
	sealer, err := stream.OpenSealer(ctx, j.Header, unwrapper, p.encrypt.AssociatedData)
	if err != nil {
		return nil, fmt.Errorf("s3upload: the stream of the journal %.512q: %w", j.name, err)
	}
	return sealer, nil
}

// resume finds out what the store has of the journal's upload. It returns a
// result if that is the whole object.
func (s *sender) resume(ctx context.Context) (*Result, error) {
	t, j := s.t, s.journal
	t.uploadID, t.journal = j.UploadID, j.name
	for _, r := range j.parts {
		buffers := s.buffers(r)
		if !r.Final && r.Size%s.ladder.plaintext() != 0 || buffers > s.ladder.maxBuffers() {
			return nil, fmt.Errorf("s3upload: %w", j.damaged("part %d has %d bytes", r.Part, r.Size))
		}
		s.reserve = max(s.reserve, buffers)
	}
	in := &s3.ListPartsInput{UploadId: &j.UploadID}
	carry(in, t.in)
	s.stored = map[int32]types.Part{}
	for pages := s3.NewListPartsPaginator(t.client.(resumeClient), in); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if noSuchUpload(err) {
			return s.finished(ctx)
		}
		if err != nil {
			return nil, fmt.Errorf("s3upload: asking which parts are stored, to resume from the journal %.512q: %w", j.name, err)
		}
		for _, p := range page.Parts {
			s.stored[aws.ToInt32(p.PartNumber)] = p
		}
		if page.ChecksumAlgorithm != "" {
			t.in.ChecksumAlgorithm = page.ChecksumAlgorithm
		}
	}
	return nil, nil
}

// finished returns the result of an upload that the store knows no more because
// the object is complete.
func (s *sender) finished(ctx context.Context) (*Result, error) {
	in := new(s3.GetObjectInput)
	carry(in, &s3.PutObjectInput{
		Bucket: s.t.in.Bucket, Key: s.t.in.Key, ExpectedBucketOwner: s.t.in.ExpectedBucketOwner, RequestPayer: s.t.in.RequestPayer,
		SSECustomerAlgorithm: s.t.in.SSECustomerAlgorithm, SSECustomerKey: s.t.in.SSECustomerKey, SSECustomerKeyMD5: s.t.in.SSECustomerKeyMD5,
	})
	gone := fmt.Errorf("s3upload: %w: remove the journal %.512q and upload again", ErrUploadGone, s.journal.name)
	visible, err := s.look(ctx, in)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w, unless it is complete, which could not be found out: %w", gone, err)
	case visible == nil:
		return nil, gone
	}
	size, err := s.ladder.layout.PlaintextSize(visible.size)
	if err != nil {
		return nil, gone
	}
	s.count, s.t.produced, s.t.parts = size, visible.size, len(s.journal.parts)
	if !s.t.options.HeaderInMetadata {
		if err := s.setHeader(); err != nil {
			return nil, err
		}
	}
	res, err := s.result(&visible.etag, &visible.version)
	if err == nil {
		s.journal.remove()
	}
	return res, err
}

// look returns the object, if it is this upload's, and otherwise nil, after it has
// looked some times: the store may still be working on a request of the earlier
// run that completes it.
func (s *sender) look(ctx context.Context, in *s3.GetObjectInput) (*stored, error) {
	for try := 0; ; try++ {
		visible, err := find(ctx, s.t.client.(resumeClient), in)
		switch {
		case err == nil && bytes.HasPrefix(visible.front, s.header[:format.PreludeSize]): // which no other stream has
			return visible, nil
		case err != nil && statusOf(err) != http.StatusNotFound && !errors.Is(err, format.ErrNotStream):
			return nil, err
		case try == maxLooks:
			return nil, nil
		}
		select {
		case <-time.After(s.t.options.AbortTimeout / abortPause << try):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// maxLooks is how often an object is looked for again: for 3 s of 30 s.
const maxLooks = 4

// again returns part n as an earlier run has begun it, or nil if the store has
// it. The source must have the same plaintext as then.
func (s *sender) again(ctx context.Context, n int32, r record) (*part, error) {
	start, want := s.count, s.storedSize(r)
	stored, ok := s.stored[n]
	var p *part
	var got record
	var err error
	if ok = ok && aws.ToInt64(stored.Size) == want; ok {
		got, err = s.skip(ctx, r)
	} else if p, _, err = s.room(ctx, n, s.buffers(r)); err == nil { // no more than the reserve has
		got, err = s.fill(ctx, p, s.buffers(r))
	}
	if err == nil && (got.Size != r.Size || got.Final != r.Final || !hmac.Equal(got.MAC, r.MAC)) {
		err = fmt.Errorf("%w: from byte %d on it has other bytes than when the journal %.512q was written: bring it back as it was, or give the upload up with AbortResumable", ErrSourceChanged, start, s.journal.name)
	}
	if err != nil {
		if p != nil {
			s.drop(p)
		}
		return nil, err
	}
	if ok {
		s.produced(want, r.Final)
		s.t.acknowledge(want)
		completed := types.CompletedPart{PartNumber: &n}
		carry(&completed, &stored)
		s.mu.Lock()
		s.done = append(s.done, completed)
		s.mu.Unlock()
	}
	return p, nil
}

// buffers returns how many buffers the part of a record has.
func (s *sender) buffers(r record) int64 {
	if r.Final {
		return s.ladder.buffers(r.Size)
	}
	return r.Size / s.ladder.plaintext()
}

// storedSize returns the stored bytes of the part of a record.
func (s *sender) storedSize(r record) int64 {
	size := r.Size + s.ladder.layout.FinalSegment(r.Size)*format.SegmentOverhead
	if r.Final {
		size += format.SegmentOverhead
	}
	if r.Part == 1 {
		size += int64(len(s.front()))
	}
	return size
}

// skip reads the plaintext of a part that the store has, and returns the record
// of what it read.
func (s *sender) skip(ctx context.Context, want record) (record, error) {
	mac, err := s.sealer.SourceMAC()
	if err != nil {
		return record{}, err
	}
	got := record{Part: want.Part}
	segment := make([]byte, s.ladder.layout.SegmentSize())
	defer clear(segment)
	for !got.Final && (want.Final || got.Size < want.Size) && got.Size <= want.Size {
		if err := ctx.Err(); err != nil {
			return record{}, err
		}
		n, err := s.read(segment)
		if err != nil && err != io.EOF {
			return record{}, err
		}
		mac.Write(segment[:n])
		got.Size += int64(n)
		got.Final = n < len(segment)
		s.index++
	}
	s.taken += s.buffers(want)
	got.MAC = mac.Sum(nil)
	return got, nil
}

// AbortResumable gives up an upload that UploadResumable has begun: it aborts the
// multipart upload, so that its parts are billed no more, and removes the
// journal, which stays if that failed. An upload that is gone already is no
// error; a journal that does not exist is fs.ErrNotExist, and one that is
// something else [ErrJournal].
func (u *Uploader) AbortResumable(ctx context.Context, journal string) error {
	j, err := openJournal(journal)
	if err != nil {
		return fmt.Errorf("s3upload: %w", err)
	}
	if j.file == nil {
		return fmt.Errorf("s3upload: the journal %.512q: %w", journal, fs.ErrNotExist)
	}
	defer j.close()
	t := &transfer{client: u.client, options: &u.options, uploadID: j.UploadID, in: &s3.PutObjectInput{
		Bucket: &j.Bucket, Key: &j.Key, ExpectedBucketOwner: j.ExpectedBucketOwner, RequestPayer: j.RequestPayer,
	}}
	if err := t.abort(ctx); err != nil {
		return fmt.Errorf("s3upload: aborting the multipart upload %q of s3://%.64s/%.1024s: %w", j.UploadID, j.Bucket, j.Key, err)
	}
	return j.remove()
}
