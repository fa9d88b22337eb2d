//go:build unix

package stream

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// keepOwner gives dst the owner and the group of another file, if they are
// others and this process may: only root may give files away.
func keepOwner(dst *os.File, of os.FileInfo) error {
	stat, ok := of.Sys().(*syscall.Stat_t)
	if !ok || int(stat.Uid) == os.Geteuid() && int(stat.Gid) == os.Getegid() {
		return nil
	}
	if err := dst.Chown(int(stat.Uid), int(stat.Gid)); !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}
