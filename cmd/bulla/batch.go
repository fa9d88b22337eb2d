package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/spf13/pflag"

	"github.com/bulla-format/bulla/s3download"
	"github.com/bulla-format/bulla/s3upload"
)

// manyFlags say how to work on many objects.
type manyFlags struct {
	recursive   bool
	concurrency int
}

func (f *manyFlags) register(flags *pflag.FlagSet) {
	flags.BoolVarP(&f.recursive, "recursive", "R", false, "all objects under s3://BUCKET/PREFIX/, or in s3://BUCKET")
	flags.IntVar(&f.concurrency, "concurrency", 4, "how many `OBJECTS` at a time")
}

// places returns the objects that the arguments name, or the prefixes.
func (f *manyFlags) places(args []string) ([]location, error) {
	if f.concurrency < 1 {
		return nil, usagef("--concurrency %d: expected 1 or more", f.concurrency)
	}
	var all []location
	for _, arg := range args {
		parse := parseS3
		if f.recursive {
			parse = parsePrefix
		}
		at, err := parse(arg)
		if err != nil {
			return nil, err
		}
		if f.recursive && at.key != "" && !strings.HasSuffix(at.key, "/") {
			return nil, usagef("%s: end it with a slash, for all that is under it", arg)
		}
		all = append(all, at)
	}
	return all, nil
}

// An object is one to work on; listed is what a list says of it, nil without
// one.
type object struct {
	location
	listed *s3download.Entry
}

// objects returns the objects of the places. The error of a list ends with that
// list.
func (f *manyFlags) objects(ctx context.Context, client *s3.Client, places []location, o *s3download.ListOptions) iter.Seq2[object, error] {
	return func(yield func(object, error) bool) {
		for _, at := range places {
			if !f.recursive {
				if !yield(object{location: at}, nil) {
					return
				}
				continue
			}
			in := &s3.ListObjectsV2Input{Bucket: aws.String(at.bucket), Prefix: aws.String(at.key)}
			for e, err := range s3download.List(ctx, client, in, o) {
				if !yield(object{location{at.bucket, e.Key}, &e}, err) {
					return
				}
			}
		}
	}
}

// A batch does one thing to each of many objects, several at a time. What fails
// with one stops no other.
type batch struct {
	app   *app
	slots chan struct{}
	wg    sync.WaitGroup

	mu       sync.Mutex     // of what follows, and of standard error
	outcomes map[string]int // how many had which
	failed   int
	code     int // the exit code of all failures, or exitFailure if they differ
}

func (a *app) newBatch(concurrency int) *batch {
	return &batch{app: a, slots: make(chan struct{}, concurrency), outcomes: map[string]int{}}
}

// An outcome is what became of an object: a word for the summary, and a line
// about it, or none.
type outcome struct{ word, line string }

// do does it, when there is room.
func (b *batch) do(ctx context.Context, name string, it func() (outcome, error)) {
	b.slots <- struct{}{}
	b.wg.Go(func() {
		defer func() { <-b.slots }()
		if ctx.Err() != nil {
			return
		}
		done, err := it()
		b.note(ctx, name, done, err)
	})
}

// note tells what became of an object. Of one whose work was interrupted it only
// tells what the store may have kept.
func (b *batch) note(ctx context.Context, name string, done outcome, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil {
		b.outcomes[done.word]++
		if done.line != "" {
			b.app.note("%s: %s", oneLine(name), done.line)
		}
		return
	}
	if _, ok := errors.AsType[*s3upload.UploadError](err); !ok && ctx.Err() != nil {
		return
	}
	code, next := classify(err)
	fmt.Fprintln(b.app.stderr, "bulla: "+oneLine(named(name, err).Error()+prefixed("; ", next)))
	if b.failed++; b.failed == 1 {
		b.code = code
	} else if b.code != code {
		b.code = exitFailure
	}
}

// end waits for all, prints the summary, and returns the error of the batch.
func (b *batch) end(ctx context.Context) error {
	b.wg.Wait()
	total := b.failed
	var words []string
	for _, word := range slices.Sorted(maps.Keys(b.outcomes)) {
		total += b.outcomes[word]
		words = append(words, fmt.Sprintf("%d %s", b.outcomes[word], word))
	}
	if b.failed > 0 {
		words = append(words, fmt.Sprintf("%d failed", b.failed))
	}
	plural := map[bool]string{true: "", false: "s"}[total == 1]
	b.app.note("%d object%s%s", total, plural, prefixed(": ", strings.Join(words, ", ")))
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case b.failed > 0:
		return &batchError{b.failed, total, b.code}
	}
	return nil
}

// A batchError says how many failed. Why was printed with each.
type batchError struct{ failed, total, code int }

func (e *batchError) Error() string { return fmt.Sprintf("%d of %d objects failed", e.failed, e.total) }
