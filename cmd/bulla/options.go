package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/pflag"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/stream"
)

// maxWorkers is what package stream takes.
const maxWorkers = 1024

// maxAssociatedData bounds the file of --associated-data-file, which is read
// into memory.
const maxAssociatedData = 16 << 20

// streamFlags say how to encrypt and which streams to accept.
type streamFlags struct {
	suite          string
	associatedData string // file
	segmentSize    byteSize
	context        pairs
	compact        bool
	required       pairs
	workers        int
	ignoreLocation bool
}

func (f *streamFlags) registerEncrypt(flags *pflag.FlagSet) {
	f.context = pairs{}
	flags.Var(f.context, "context", "public, authenticated pair in the header; repeatable")
	flags.Var(&f.segmentSize, "segment-size", "plaintext bytes of a segment, 4KiB to 16MiB (default 64KiB)")
	flags.BoolVar(&f.compact, "compact-header", false, "do not pad the header to 4 KiB")
}

func (f *streamFlags) registerDecrypt(flags *pflag.FlagSet) {
	f.required = pairs{}
	flags.Var(f.required, "require-context", "refuse a stream without this pair in its context; repeatable")
	flags.BoolVar(&f.ignoreLocation, "ignore-location", false, "accept a stream that is bound to another location")
}

func (f *streamFlags) registerBoth(flags *pflag.FlagSet) {
	flags.StringVar(&f.suite, "suite", "", fmt.Sprintf("`SUITE`: %v (default) or %v;\nwhen decrypting, the only one to accept (default: both)", format.AES256GCM, format.ChaCha20Poly1305))
	f.registerAssociatedData(flags)
	flags.IntVar(&f.workers, "workers", 0, "how many `THREADS` encrypt or decrypt at a time (default 1)")
}

func (f *streamFlags) registerAssociatedData(flags *pflag.FlagSet) {
	flags.StringVar(&f.associatedData, "associated-data-file", "", "authenticate the bytes of `FILE` too, which are not stored:\ndecrypting needs them again")
}

func (f *streamFlags) encryptOptions() (*stream.EncryptOptions, error) {
	size := int64(f.segmentSize)
	if size != 0 && (size&(size-1) != 0 || size < 1<<format.MinSegmentExp || size > 1<<format.MaxSegmentExp) {
		return nil, usagef("--segment-size %v is not a power of two from 4KiB to 16MiB", &f.segmentSize)
	}
	suite, associatedData, err := f.both()
	return &stream.EncryptOptions{
		Suite:          suite,
		SegmentSize:    int(size),
		Context:        keywrap.Context(f.context),
		AssociatedData: associatedData,
		CompactHeader:  f.compact,
		Workers:        f.workers,
	}, err
}

func (f *streamFlags) decryptOptions() (*stream.DecryptOptions, error) {
	suite, associatedData, err := f.both()
	o := &stream.DecryptOptions{
		AssociatedData:  associatedData,
		RequiredContext: keywrap.Context(f.required),
		IgnoreLocation:  f.ignoreLocation,
		Workers:         f.workers,
	}
	if suite != 0 {
		o.Suites = []format.Suite{suite}
	}
	return o, err
}

func (f *streamFlags) both() (suite format.Suite, associatedData []byte, err error) {
	if f.workers < 0 || f.workers > maxWorkers {
		return 0, nil, usagef("--workers %d: expected 1 to %d", f.workers, maxWorkers)
	}
	if f.suite != "" {
		if suite, err = format.ParseSuite(f.suite); err != nil {
			return 0, nil, usageError{err}
		}
	}
	if f.associatedData == "" {
		return suite, nil, nil
	}
	file, err := os.Open(f.associatedData)
	if err != nil {
		return 0, nil, err
	}
	defer file.Close()
	associatedData, err = io.ReadAll(io.LimitReader(file, maxAssociatedData+1))
	switch {
	case err != nil:
		return 0, nil, err
	case len(associatedData) == 0:
		return 0, nil, usagef("--associated-data-file %s is empty", f.associatedData)
	case len(associatedData) > maxAssociatedData:
		return 0, nil, usagef("--associated-data-file %s is larger than %d bytes", f.associatedData, maxAssociatedData)
	}
	return suite, associatedData, nil
}
