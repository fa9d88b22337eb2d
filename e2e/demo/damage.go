package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/bulla-format/bulla/s3download"
	"github.com/bulla-format/bulla/stream"
)

// injury is a change of the stored bytes offset to offset+length-1, found when a segment is read.
type injury struct {
	what           string
	offset, length int64
	change         func(p []byte) []byte // what stands there instead; fewer bytes cut the object
	segment        int64
	want           error
}

// damage changes the object in the store's own file, shows that each change is found, and undoes it.
func (d *demo) damage(ctx context.Context) error {
	d.step("Damage the object behind the store's back")
	layout, stored := d.result.Info.Layout, d.result.StoredSize
	final, whole := layout.FinalSegment(d.size), int64(layout.StoredSegmentSize())
	middle := final / 2
	bit := layout.SegmentOffset(middle) + 12 // behind the nonce
	cut := min(1000, stored-layout.Start())
	injuries := []injury{
		{
			fmt.Sprintf("one bit of byte %s is inverted", commas(bit)), bit, 1,
			func(p []byte) []byte { return []byte{p[0] ^ 1} }, middle, stream.ErrAuth,
		},
		{
			fmt.Sprintf("the final %s are cut off", count(int(cut), "byte")), stored - cut, cut,
			func([]byte) []byte { return nil }, 0, stream.ErrTruncated,
		},
		{
			"segments 0 and 1 change places", layout.Start(), 2 * whole,
			func(p []byte) []byte { return append(p[whole:], p[:whole]...) }, 0, stream.ErrAuth,
		},
	}
	if final < 2 {
		d.note("a file of less than %s has no two segments that could change places", sizeText(2*int64(layout.SegmentSize())))
		injuries = injuries[:2]
	}
	file, err := os.OpenFile(d.server.PathOnDisk(bucket, object), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	for _, i := range injuries {
		if err := d.injure(ctx, file, i); err != nil {
			return err
		}
	}
	err = errors.Join(d.readSegment(ctx, 0), d.readSegment(ctx, middle))
	d.check(err == nil, "with all of it undone, the object reads as before")
	return nil
}

// injure does an injury, reads, and repairs.
func (d *demo) injure(ctx context.Context, file *os.File, i injury) error {
	good := make([]byte, i.length)
	if _, err := file.ReadAt(good, i.offset); err != nil {
		return err
	}
	bad := i.change(bytes.Clone(good))
	if _, err := file.WriteAt(bad, i.offset); err != nil {
		return err
	}
	if len(bad) < len(good) {
		if err := file.Truncate(i.offset + int64(len(bad))); err != nil {
			return err
		}
	}
	err := d.readSegment(ctx, i.segment)
	d.check(errors.Is(err, i.want), "%s: refused", i.what)
	d.said(err)
	_, err = file.WriteAt(good, i.offset)
	return err
}

// readSegment opens the object and reads one segment of it.
func (d *demo) readSegment(ctx context.Context, index int64) error {
	segment := int64(d.result.Info.SegmentSize)
	offset := index * segment
	o, err := d.open(ctx, d.server.Client(), &s3download.Options{Prefetch: s3download.Range{Offset: offset, Length: 1}})
	if err != nil {
		return err
	}
	defer o.Close()
	p := make([]byte, min(segment, d.size-offset))
	if n, err := o.ReadAt(p, offset); n < len(p) {
		return err
	}
	_, err = o.ReadAt(nil, offset)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return err
}

// disableKey shows that whoever holds the key decides who reads.
func (d *demo) disableKey(ctx context.Context) error {
	d.step("Disable the wrapping key")
	client := kms.NewFromConfig(d.kms.Config())
	if _, err := client.DisableKey(ctx, &kms.DisableKeyInput{KeyId: &d.keyARN}); err != nil {
		return err
	}
	err := d.readSegment(ctx, 0)
	_, disabled := errors.AsType[*types.DisabledException](err)
	d.check(disabled, "the object cannot be read")
	d.said(err)
	if _, err := client.EnableKey(ctx, &kms.EnableKeyInput{KeyId: &d.keyARN}); err != nil {
		return err
	}
	d.check(d.readSegment(ctx, 0) == nil, "with the key enabled again, it can")
	return nil
}
