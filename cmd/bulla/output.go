package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// An output is where a command writes: standard output, a device, or a file
// that appears under its name when commit succeeds, and not before.
type output struct {
	io.Writer
	file    *os.File // nil: standard output
	name    string   // of the file to be; empty: there is nothing to commit
	replace bool
}

// create opens the output of the given name; - is standard output. A file that
// exists is an error unless force is set. The caller defers discard.
func (a *app) create(name string, force bool) (*output, error) {
	if name == "-" {
		a.quiet = a.quiet || isTerminal(a.stdout) // no progress in the midst of the plaintext
		return &output{Writer: a.stdout}, nil
	}
	mode := fs.FileMode(0o666)
	switch info, err := os.Stat(name); {
	case errors.Is(err, fs.ErrNotExist):
		force = false
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, usagef("%s is a directory: name the file to write", name)
	case !info.Mode().IsRegular():
		file, err := os.OpenFile(name, os.O_WRONLY, 0)
		return &output{Writer: file, file: file}, err
	case !force:
		return nil, existsError(name)
	default:
		mode = info.Mode().Perm()
		if name, err = filepath.EvalSymlinks(name); err != nil {
			return nil, err
		}
	}
	// The kernel applies the umask, and the directory's default ACL.
	temp := filepath.Join(filepath.Dir(name), ".bulla-"+rand.Text()+".tmp")
	file, err := os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return nil, err
	}
	o := &output{Writer: file, file: file, name: name, replace: force}
	if force {
		if err := file.Chmod(mode); err != nil { // replacing a file keeps its mode whatever the umask
			o.discard()
			return nil, err
		}
	}
	return o, nil
}

// commit makes the file durable and gives it its name.
func (o *output) commit() error {
	if o.name == "" {
		return o.closeDevice()
	}
	if err := o.file.Sync(); err != nil {
		return err
	}
	temp := o.file.Name()
	if err := o.file.Close(); err != nil {
		return err
	}
	if o.replace {
		if err := os.Rename(temp, o.name); err != nil {
			return err
		}
	} else if err := publish(temp, o.name); err != nil {
		return err
	}
	syncDir(filepath.Dir(o.name))
	o.name = ""
	return nil
}

// discard removes what was written, unless it was committed.
func (o *output) discard() {
	if o.file == nil {
		return
	}
	o.file.Close()
	if o.name != "" {
		os.Remove(o.file.Name())
	}
}

func (o *output) closeDevice() error {
	if o.file == nil {
		return nil
	}
	return o.file.Close()
}

// link is replaced by a test, which plays a file system without links.
var link = os.Link

// publish renames temp, and never replaces a file that another process has
// made in the meantime.
func publish(temp, name string) error {
	err := link(temp, name)
	if err == nil {
		return os.Remove(temp)
	}
	if errors.Is(err, fs.ErrExist) {
		return existsError(name)
	}
	// A file system without links: reserve the name, then replace our own file.
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return existsError(name)
	}
	if err != nil {
		return err
	}
	file.Close()
	if err := os.Rename(temp, name); err != nil {
		os.Remove(name)
		return err
	}
	return nil
}

func existsError(name string) error {
	return fmt.Errorf("%s exists: use --force to replace it, or another name", name)
}

// syncDir makes a new name durable where directories can be synced.
func syncDir(dir string) {
	if d, err := os.Open(dir); err == nil {
		d.Sync()
		d.Close()
	}
}
