package stream

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
)

// ErrChanged means that a file changed while it was being re-wrapped. Nothing
// was replaced.
var ErrChanged = errors.New("the file has changed meanwhile")

// RewrapFile re-wraps the stream in the named file, as [Rewrap] does its
// header, and returns what the new header says. It writes a new file beside
// the old one, which then takes its name, mode and, as far as allowed, owner:
// at every moment, after a crash too, the name is that of the whole old stream
// or of the whole new one. Where the file system can share blocks between
// files (Btrfs, XFS) the payload is not copied; elsewhere it is, once.
//
// After an error the old file is as it was. A crash can leave a file behind
// whose name begins with ".bulla-rewrap-", which can be removed. A symbolic
// link is followed; the file that it leads to is replaced. For a detached
// header the file is that of the header.
func RewrapFile(ctx context.Context, name string, old keywrap.Unwrapper, new keywrap.Wrapper, o *RewrapOptions) (Info, error) {
	name, err := filepath.EvalSymlinks(name)
	if err != nil {
		return Info{}, err
	}
	src, err := os.Open(name)
	if err != nil {
		return Info{}, err
	}
	defer src.Close()
	stat, err := src.Stat()
	if err != nil {
		return Info{}, err
	}
	if !stat.Mode().IsRegular() {
		return Info{}, fmt.Errorf("stream: %s is not a regular file", name)
	}
	header, err := readFileHeader(src)
	if err != nil {
		return Info{}, err
	}
	replacement, err := Rewrap(ctx, header, old, new, o)
	if err != nil {
		return Info{}, err
	}
	info, err := Inspect(replacement)
	if err != nil {
		return Info{}, err
	}
	temp := filepath.Join(filepath.Dir(name), ".bulla-rewrap-"+rand.Text())
	dst, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return Info{}, err
	}
	defer os.Remove(temp) // after the rename there is none
	defer dst.Close()
	if err := writeRewrapped(ctx, dst, src, replacement, int64(len(header)), stat); err != nil {
		return Info{}, err
	}
	if err := unchanged(name, src, stat, header); err != nil {
		return Info{}, err
	}
	if err := os.Rename(temp, name); err != nil {
		return Info{}, err
	}
	syncDirectory(filepath.Dir(name))
	return info, nil
}

// readFileHeader returns the encoded header that src begins with.
func readFileHeader(src io.ReaderAt) ([]byte, error) {
	b := make([]byte, format.MaxHeaderSize)
	n, err := src.ReadAt(b, 0)
	if err != nil && err != io.EOF {
		return nil, fmt.Errorf("stream: reading the header: %w", err)
	}
	return wholeHeader(b[:n])
}

// writeRewrapped makes dst the re-wrapped stream and durable. Copying goes
// through the kernel where it can, which shares blocks where the file system
// can: headers of the usual sizes keep the payload's place in its block.
func writeRewrapped(ctx context.Context, dst, src *os.File, header []byte, oldSize int64, stat os.FileInfo) error {
	if _, err := dst.Write(header); err != nil {
		return err
	}
	if _, err := src.Seek(oldSize, io.SeekStart); err != nil {
		return err
	}
	// In pieces, so that ctx can end it.
	const piece = 256 << 20
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.CopyN(dst, src, piece)
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("stream: copying the payload after %d bytes of a piece: %w", n, err)
		}
	}
	size, err := dst.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	if want := stat.Size() - oldSize + int64(len(header)); size != want {
		return fmt.Errorf("%w: %d bytes were copied of %d", ErrChanged, size-int64(len(header)), want-int64(len(header)))
	}
	if err := keepOwner(dst, stat); err != nil {
		return err
	}
	if err := dst.Chmod(stat.Mode().Perm()); err != nil {
		return err
	}
	return errors.Join(dst.Sync(), dst.Close())
}

// unchanged tells whether the name is still that of the file that was copied,
// and that one as it was.
func unchanged(name string, src *os.File, before os.FileInfo, header []byte) error {
	now, err := os.Stat(name)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrChanged, err)
	}
	if !os.SameFile(before, now) || now.Size() != before.Size() || !now.ModTime().Equal(before.ModTime()) {
		return fmt.Errorf("%w: %s", ErrChanged, name)
	}
	again := make([]byte, len(header))
	if _, err := src.ReadAt(again, 0); err != nil || !bytes.Equal(again, header) {
		return fmt.Errorf("%w: %s", ErrChanged, name)
	}
	return nil
}

// syncDirectory makes a new name durable, where directories can be synced.
func syncDirectory(name string) {
	if d, err := os.Open(name); err == nil {
		d.Sync()
		d.Close()
	}
}
