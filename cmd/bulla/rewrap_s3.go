package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/s3download"
	"github.com/bulla-format/bulla/s3upload"
	"github.com/bulla-format/bulla/stream"
)

// A rewrapper re-wraps objects.
type rewrapper struct {
	job      *rewrapJob
	client   *s3.Client
	old      keywrap.Unwrapper
	new      keywrap.Wrapper
	newNames []string
	options  s3upload.RewrapOptions
}

func (a *app) rewrapObjects(ctx context.Context, j *rewrapJob) error {
	places, err := j.many.places(j.args)
	if err != nil {
		return err
	}
	r, err := a.newRewrapper(ctx, j)
	if err != nil {
		return err
	}
	if len(places) == 1 && !j.many.recursive {
		done, err := r.rewrap(ctx, object{location: places[0]})
		if err != nil {
			return err
		}
		a.note("%s: %s", oneLine(j.args[0]), done.line)
		a.note(notRevoked)
		return nil
	}
	b := a.newBatch(j.many.concurrency)
	for o, err := range j.many.objects(ctx, r.client, places, &s3download.ListOptions{HeaderSuffix: j.store.headerSuffix, Headers: true}) {
		if err != nil {
			b.note(ctx, o.String(), outcome{}, err)
			continue
		}
		b.do(ctx, o.String(), func() (outcome, error) { return r.rewrap(ctx, o) })
	}
	err = b.end(ctx)
	a.note(notRevoked)
	return err
}

func (a *app) newRewrapper(ctx context.Context, j *rewrapJob) (*rewrapper, error) {
	_, associatedData, err := j.stream.both()
	if err != nil {
		return nil, err
	}
	r := &rewrapper{job: j}
	if r.old, err = a.unwrapper(ctx, &j.old); err != nil {
		return nil, err
	}
	if j.new.given() {
		if r.new, r.newNames, err = a.wrapper(ctx, &j.new); err != nil {
			return nil, err
		}
	}
	r.options = s3upload.RewrapOptions{HeaderSuffix: j.store.headerSuffix, Change: j.checksum.change, Stream: &stream.RewrapOptions{
		Keep: r.keeps, AssociatedData: associatedData, Context: j.context(), Location: j.location, ClassicalKeys: j.new.classical,
	}}
	r.client, err = j.store.client(ctx, &j.old.access.aws)
	return r, err
}

// keeps tells whether a wrapped key stays. One of a new key's name does not: it
// is the same key, when an object is re-wrapped again.
func (r *rewrapper) keeps(k format.WrappedKey) bool {
	return r.job.keeps(k) && !slices.Contains(r.newNames, k.Name)
}

func (r *rewrapper) rewrap(ctx context.Context, o object) (outcome, error) {
	before, err := r.inspect(ctx, o)
	switch {
	case o.listed != nil && o.listed.Object == nil:
		return outcome{"with only a header", "there is only a header: the object is gone, and rm deletes the rest"}, nil
	case o.listed != nil && errors.Is(err, format.ErrNotStream):
		return outcome{"not encrypted", ""}, nil
	case err != nil:
		return outcome{}, err
	}
	if err := r.job.checkKept(before.Keys); err != nil {
		return outcome{}, err
	}
	result, err := s3upload.Rewrap(ctx, r.client, o.get(), r.old, r.new, &r.options)
	switch {
	case errors.Is(err, s3upload.ErrInput):
		return outcome{}, usageError{err}
	case err != nil:
		return outcome{}, encryptError(o.String(), err)
	case result.Unchanged:
		return outcome{"for these keys already", "for these keys already: " + keyList(result.Info.Keys)}, nil
	}
	return outcome{"re-wrapped", fmt.Sprintf("generation %d, was %d; for %s; was for %s",
		result.Info.Generation, before.Generation, keyList(result.Info.Keys), keyList(before.Keys))}, nil
}

// inspect returns what the header of an object says, which a list has read.
func (r *rewrapper) inspect(ctx context.Context, o object) (*stream.Info, error) {
	if o.listed != nil {
		return o.listed.Info, o.listed.Err
	}
	info, _, err := s3download.Inspect(ctx, r.client, o.get(), &s3download.Options{HeaderSuffix: r.job.store.headerSuffix})
	return &info, err
}
