// Command gen writes the test vectors of the stream format into
// testdata/vectors. It is run in the root of the repository:
//
//	go run ./internal/vectors/gen
//	go run ./internal/vectors/gen -check
//
// With -check it writes nothing and fails if a file is missing, different or
// left over. Its output never varies.
//
// The reference writer in it follows SPEC.md and imports nothing of this
// module, so that the vectors are a second implementation's. It takes nonces
// from a fixed source, which no other writer may do.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

const dir = "testdata/vectors"

func main() {
	check := flag.Bool("check", false, "compare with the files instead of writing them")
	flag.Parse()
	run := write
	if *check {
		run = compare
	}
	if err := run(dir, files()); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// files returns the contents of every file by its name.
func files() map[string][]byte {
	var c set
	c.valid()
	c.headers()
	c.extensions()
	c.payloads()
	c.keys()
	m := map[string][]byte{
		"keyschedule.json": keySchedules(),
		"sizes.json":       sizes(),
	}
	for _, v := range c.vectors {
		name := v.name + ".vec"
		if m[name] != nil {
			panic("two vectors " + name)
		}
		m[name] = v.file()
	}
	return m
}

// write makes the directory hold the given files, and no other vectors.
func write(dir string, files map[string][]byte) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	old, err := leftOver(dir, files)
	if err != nil {
		return err
	}
	for _, name := range old {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := os.WriteFile(filepath.Join(dir, name), files[name], 0o666); err != nil {
			return err
		}
	}
	return nil
}

// compare reports how the directory differs from the given files.
func compare(dir string, files map[string][]byte) error {
	old, err := leftOver(dir, files)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range old {
		errs = append(errs, fmt.Errorf("%s is left over: no vector has this name", filepath.Join(dir, name)))
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			errs = append(errs, err)
		} else if !bytes.Equal(got, files[name]) {
			errs = append(errs, fmt.Errorf("%s is not up to date: run go run ./internal/vectors/gen", filepath.Join(dir, name)))
		}
	}
	return errors.Join(errs...)
}

// leftOver returns the names of the vectors in the directory that are not among
// the given files.
func leftOver(dir string, files map[string][]byte) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); (ext == ".vec" || ext == ".json") && files[e.Name()] == nil {
			names = append(names, e.Name())
		}
	}
	return names, nil
}
