// Command report measures Bulla beside its peers and writes what came out:
//
//	go run -C bench ./report              all of it, about a quarter of an hour
//	go run -C bench ./report -short       few repetitions, about a minute
//	go run -C bench ./report -from FILE   render raw results again
//
// The results are in results/<cpu>/, or where -out says: raw.txt is what the
// benchmarks printed, for benchstat; report.md has the tables; the plots are
// there in SVG and PNG. Nothing is written before everything has been measured
// and rendered, so a failure or an interrupt leaves the results of before.
package main

import (
	"bytes"
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
)

func main() {
	short := flag.Bool("short", false, "measure for about a minute: to try the program, not to quote")
	from := flag.String("from", "", "render the raw results in `file`, in its directory, and measure nothing")
	out := flag.String("out", "", "write to `directory` instead of results/<cpu>")
	flag.Parse()
	if flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := run(ctx, os.Stdout, *short, *from, *out)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "\nreport: interrupted; nothing was written")
		os.Exit(130)
	default:
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, progress io.Writer, short bool, from, out string) error {
	var raw []byte
	var err error
	if from != "" {
		raw, err = os.ReadFile(from)
		out = cmp.Or(out, filepath.Dir(from))
	} else {
		m := thisMachine()
		raw, err = measure(ctx, progress, m, plan(m, short))
		out = cmp.Or(out, filepath.Join("results", m.slug()))
	}
	if err != nil {
		return err
	}
	files, err := render(raw)
	if err != nil {
		return err
	}
	if from == "" {
		files["raw.txt"] = raw
	}
	if err := save(out, files); err != nil {
		return err
	}
	fmt.Fprintln(progress, "written:", filepath.Join(out, "report.md"))
	return nil
}

// render returns the files of a report on raw results, by name.
func render(raw []byte) (map[string][]byte, error) {
	r, err := parse(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	files, err := plots(r)
	if err != nil {
		return nil, err
	}
	files["report.md"] = markdown(r)
	return files, nil
}

// save writes all files beside their places first, and then moves them there.
func save(dir string, files map[string][]byte) (err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	const suffix = ".new"
	defer func() {
		for name := range files {
			os.Remove(filepath.Join(dir, name+suffix))
		}
	}()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name+suffix), content, 0o644); err != nil {
			return err
		}
	}
	for name := range files {
		name = filepath.Join(dir, name)
		if err := os.Rename(name+suffix, name); err != nil {
			return err
		}
	}
	return nil
}
