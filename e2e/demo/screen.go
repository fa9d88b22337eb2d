package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"
)

// screen writes what the demo has to say to out, and the progress to err.
type screen struct {
	out, err io.Writer
	steps    int
	failed   int // checks
}

func (s *screen) printf(format string, args ...any) { fmt.Fprintf(s.out, format, args...) }

// step begins a step.
func (s *screen) step(title string) {
	s.steps++
	s.printf("\n%d. %s\n\n", s.steps, title)
}

// field writes a name and what stands for it.
func (s *screen) field(name, format string, args ...any) {
	s.printf("  %-12s %s\n", name, fmt.Sprintf(format, args...))
}

// code writes the line of Go that does it.
func (s *screen) code(line string) { s.printf("      %s\n\n", line) }

func (s *screen) note(format string, args ...any) { s.printf("      "+format+"\n", args...) }

// check writes what was expected, and whether it is so.
func (s *screen) check(ok bool, format string, args ...any) {
	mark := "ok"
	if !ok {
		mark = "FAILED"
		s.failed++
	}
	s.printf("  %-3s%s\n", mark, " "+fmt.Sprintf(format, args...))
}

// said writes an error, folded.
func (s *screen) said(err error) {
	if err == nil {
		s.note("  (no error)")
		return
	}
	const width = 108
	line := ""
	for word := range strings.FieldsSeq(err.Error()) {
		if line != "" && len(line)+1+len(word) > width {
			s.note("  %s", line)
			line = ""
		}
		line = strings.TrimSpace(line + " " + word)
	}
	s.note("  %s", line)
}

// hex writes n bytes of r from offset on as a hex dump.
func (s *screen) hex(r io.ReaderAt, offset int64, n int) error {
	p := make([]byte, n)
	n, err := r.ReadAt(p, offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	for line := range strings.Lines(hex.Dump(p[:n])) {
		s.printf("    %s", line[8:]) // without hex.Dump's own offset, which begins at zero
	}
	return nil
}

// summary writes the table at the end.
func (d *demo) summary() {
	d.step("What it cost")
	w := tabwriter.NewWriter(d.out, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tplaintext\ttime\tthroughput\tpeak memory\trequests\t")
	for _, row := range []struct {
		name string
		transfer
	}{{"upload", d.up}, {"download", d.down}} {
		peak := "not known"
		if row.peak > 0 {
			peak = sizeText(row.peak)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t\n", row.name, sizeText(d.size), seconds(row.time), rate(d.size, row.time), peak, row.requests)
	}
	w.Flush()
	d.printf("\n")
	w = tabwriter.NewWriter(d.out, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "range from\tplaintext bytes\tbytes fetched\trequests\t")
	for _, r := range d.rangeReads {
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t\n", commas(r.offset), commas(r.length), commas(r.fetched), r.requests)
	}
	w.Flush()
	d.printf("\n")
	d.note("Peak memory is the resident size of this process, which has the key service in it and not the S3 server.")
	d.note("Most of an upload's time is the S3 server's: it hashes every part, and copies the parts into one file at the end.")
	d.note("A range costs whole segments, and the header of the object, which comes along in the first request.")
}

// bar is a progress bar, or lines when nobody watches.
type bar struct {
	s    *screen
	name string
	size int64
	at   int64
	next int64 // where the next line is due

	container *mpb.Progress
	mpb       *mpb.Bar
}

func (s *screen) bar(name string, size int64) *bar {
	b := &bar{s: s, name: name, size: size, next: size / 4}
	if f, ok := s.err.(*os.File); ok && term.IsTerminal(int(f.Fd())) && size > 0 {
		b.container = mpb.New(mpb.WithOutput(f), mpb.WithWidth(60))
		b.mpb = b.container.AddBar(size, mpb.BarRemoveOnComplete(),
			mpb.PrependDecorators(decor.Name("  "+name+" ")),
			mpb.AppendDecorators(decor.Percentage(decor.WC{W: 5}), decor.AverageSpeed(decor.SizeB1000(0), "  % .0f")))
	}
	return b
}

// set says that n bytes are done. It is not for concurrent use.
func (b *bar) set(n int64) {
	b.at = n
	if b.mpb != nil {
		b.mpb.SetCurrent(n)
		return
	}
	if n >= b.next && n < b.size {
		fmt.Fprintf(b.s.err, "  %s: %d %%\n", b.name, n*100/b.size)
		b.next = n + b.size/4
	}
}

// done removes the bar.
func (b *bar) done() {
	if b.mpb != nil {
		b.mpb.Abort(true)
		b.container.Wait()
	}
}

func (b *bar) Write(p []byte) (int, error) {
	b.set(b.at + int64(len(p)))
	return len(p), nil
}

// reader and writer count what goes through them.
func (b *bar) reader(r io.Reader) io.Reader { return io.TeeReader(r, b) }
func (b *bar) writer(w io.Writer) io.Writer { return io.MultiWriter(w, b) }

// sizeText is a size in the largest unit that fits.
func sizeText(n int64) string {
	units := []string{"KiB", "MiB", "GiB", "TiB"}
	if n < 1024 {
		return count(int(n), "byte")
	}
	v, unit := float64(n)/1024, 0
	for v >= 1024 && unit < len(units)-1 {
		v /= 1024
		unit++
	}
	return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0") + " " + units[unit]
}

// commas is a number with its thousands apart.
func commas(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return commas(int64(n)) + " " + what
}

func seconds(t time.Duration) string { return strconv.FormatFloat(t.Seconds(), 'f', 2, 64) + " s" }

func rate(n int64, t time.Duration) string {
	return strconv.FormatFloat(float64(n)/1e6/t.Seconds(), 'f', 0, 64) + " MB/s"
}

func percent(part, whole int64) string {
	if whole == 0 {
		return "all of it"
	}
	return strconv.FormatFloat(float64(part)*100/float64(whole), 'f', 3, 64) + " %"
}
