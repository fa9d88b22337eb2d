package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/perf/benchmath"
	"golang.org/x/perf/benchunit"
)

// markdown returns the report. Sections without results are left out.
func markdown(r *results) []byte {
	d := &document{results: r}
	c := r.config
	d.line("# Bulla beside its peers\n")
	d.line("%s (%s), kernel %s, %s on %s/%s, commit %s, %s. Bound to cores by: %s. Peers: %s.\n",
		c["machine"], c["features"], c["kernel"], c["go"], c["goos"], c["goarch"], c["commit"], c["date"], c["pinned"], c["peers"])
	d.line("Throughput is in MB/s of 10^6 plaintext bytes, one core unless said otherwise: medians of up to %s runs, ± the half "+
		"width of the 95 %% confidence interval of the median, where there are enough runs for one. What is timed, and what can be "+
		"compared with what, is in [bench/README.md](../../README.md). `raw.txt` is for benchstat: `benchstat -col /impl raw.txt`.\n", c["rounds"])
	for _, bench := range []string{"Encrypt", "Decrypt"} {
		d.throughput(bench)
	}
	d.readers()
	d.ratios("aes256gcm", "impl=bulla/suite=aes256gcm", func(string) bool { return true })
	d.ratios("chacha20poly1305", "impl=bulla/suite=chacha20poly1305", func(suite string) bool { return suite == "chacha20poly1305" })
	d.memory()
	d.reads()
	d.segments()
	d.workers()
	d.limits()
	return []byte(d.String())
}

// A document is Markdown that is being written.
type document struct {
	strings.Builder
	*results
}

func (d *document) line(format string, args ...any) { fmt.Fprintf(d, format+"\n", args...) }

// table writes rows whose first cell is text and whose others are numbers, or
// nothing if there is no row with a number.
func (d *document) table(title string, head []string, rows [][]string) {
	rows = slices.DeleteFunc(rows, func(row []string) bool {
		return !slices.ContainsFunc(row[1:], func(cell string) bool { return cell != "" })
	})
	if len(rows) == 0 {
		return
	}
	d.line("## %s\n", title)
	d.line("| %s |", strings.Join(head, " | "))
	d.line("|---|%s", strings.Repeat("---:|", len(head)-1))
	for _, row := range rows {
		if strings.Contains(row[0], "Bulla") {
			row[0] = "**" + row[0] + "**"
		}
		d.line("| %s |", strings.Join(row, " | "))
	}
	d.line("")
}

// speed is the cell for a throughput.
func (d *document) speed(name string) string {
	s := d.sample(name, "B/s")
	if s == nil {
		return ""
	}
	sum := benchmath.AssumeNothing.Summary(s, confidence)
	text := megabytes(sum.Center)
	if spread := sum.PctRangeString(); spread != "∞" {
		text += " ± " + spread
	}
	return text
}

func megabytes(bytesPerSecond float64) string {
	mb := bytesPerSecond / 1e6
	if mb < 100 {
		return fmt.Sprintf("%.1f", mb)
	}
	return fmt.Sprintf("%.0f", mb)
}

// sizes are those of streams, as the names have them: "size=1KiB".
func (r *results) sizes() []string {
	return slices.SortedFunc(slices.Values(r.fields("Encrypt", "size")), func(a, b string) int {
		return cmp.Compare(bytesOf(value(a, "size")), bytesOf(value(b, "size")))
	})
}

func (d *document) throughput(bench string) {
	head, rows := []string{"MB/s"}, [][]string(nil)
	for _, size := range d.sizes() {
		head = append(head, bare(size))
	}
	for _, im := range d.implementations(bench) {
		row := []string{label(im)}
		for _, size := range d.sizes() {
			row = append(row, d.speed(bench+"/"+im+"/"+size))
		}
		rows = append(rows, row)
	}
	d.table(bench+"ing", head, rows)
}

// bare is the value of "key=value", readable.
func bare(field string) string {
	_, v, _ := strings.Cut(field, "=")
	for _, unit := range []string{"KiB", "MiB", "GiB"} {
		v = strings.Replace(v, unit, " "+unit, 1)
	}
	return v
}

func (d *document) readers() {
	var rows [][]string
	for _, im := range d.implementations("Encrypt") {
		rows = append(rows, []string{
			label(im), d.speed("Encrypt/" + im + "/size=64MiB/src=reader"), d.speed("Decrypt/" + im + "/size=64MiB/src=reader"),
		})
	}
	d.table("64 MiB from a source that has no method but Read", []string{"MB/s", "encrypt", "decrypt"}, rows)
}

// ratios divides the throughput of own by that of all others with a suite.
func (d *document) ratios(suite, own string, with func(suite string) bool) {
	head, rows := []string{"encrypt / decrypt"}, [][]string(nil)
	for _, size := range d.sizes() {
		head = append(head, bare(size))
	}
	for _, im := range d.implementations("Encrypt") {
		if im == own || !with(value(im, "suite")) {
			continue
		}
		row := []string{label(im)}
		for _, size := range d.sizes() {
			both := []string{
				d.ratio("Encrypt/"+own+"/"+size, "Encrypt/"+im+"/"+size), d.ratio("Decrypt/"+own+"/"+size, "Decrypt/"+im+"/"+size),
			}
			row = append(row, strings.Trim(strings.Join(both, " / "), " /"))
		}
		rows = append(rows, row)
	}
	d.table(fmt.Sprintf("How many times as fast Bulla is, with %s", suiteLabel(suite)), head, rows)
}

// ratio is the cell for one throughput by another; ≈ when the measurements do
// not tell them apart.
func (d *document) ratio(a, b string) string {
	sa, sb := d.sample(a, "B/s"), d.sample(b, "B/s")
	if sa == nil || sb == nil {
		return ""
	}
	ma, _ := d.median(a, "B/s")
	mb, _ := d.median(b, "B/s")
	mark := ""
	if c := benchmath.AssumeNothing.Compare(sa, sb); c.P > c.Alpha {
		mark = "≈"
	}
	if r := ma / mb; r < 100 {
		return fmt.Sprintf("%s%.2f", mark, r)
	}
	return fmt.Sprintf("%s%.0f", mark, ma/mb)
}

func (d *document) memory() {
	var rows [][]string
	for _, im := range d.implementations("Encrypt") {
		row := []string{label(im)}
		for _, size := range []string{"1KiB", "64MiB"} {
			for _, bench := range []string{"Encrypt", "Decrypt"} {
				row = append(row, d.allocated(bench+"/"+im+"/size="+size))
			}
		}
		rows = append(rows, row)
	}
	d.table("Allocated for a stream: bytes, number",
		[]string{"", "encrypt 1 KiB", "decrypt 1 KiB", "encrypt 64 MiB", "decrypt 64 MiB"}, rows)
}

// allocated is the cell for allocations.
func (d *document) allocated(name string) string {
	n, ok := d.median(name, "B/op")
	if !ok {
		return ""
	}
	count, _ := d.median(name, "allocs/op")
	return allocation(n, count)
}

// allocation writes a number of bytes in a number of pieces.
func allocation(n, count float64) string {
	if n == 0 {
		return "none"
	}
	s := benchunit.CommonScale([]float64{n}, benchunit.Binary)
	return fmt.Sprintf("%.3g %sB, %.0f", n/s.Factor, s.Prefix, count)
}

func (d *document) reads() {
	var rows [][]string
	for _, im := range d.implementations("ReadAt") {
		row := []string{label(im)}
		for _, offsets := range []string{"aligned", "any"} {
			name := "ReadAt/" + im + "/offsets=" + offsets
			row = append(row, d.speed(name), d.allocated(name))
		}
		rows = append(rows, row)
	}
	d.table("Random reads of 64 KiB in 64 MiB",
		[]string{"MB/s", "at multiples of 64 KiB", "allocated", "at any offset", "allocated"}, rows)
}

func (d *document) segments() {
	var rows [][]string
	for _, segment := range d.fields("SegmentSize", "segment") {
		row := []string{bare(segment)}
		for _, op := range []string{"encrypt", "decrypt"} {
			for _, suite := range []string{"aes256gcm", "chacha20poly1305"} {
				row = append(row, d.speed(fmt.Sprintf("SegmentSize/op=%s/impl=bulla/suite=%s/%s", op, suite, segment)))
			}
		}
		rows = append(rows, row)
	}
	d.table("Bulla, 64 MiB, by segment size", []string{
		"MB/s", "encrypt, AES-256-GCM", "encrypt, ChaCha20-Poly1305", "decrypt, AES-256-GCM", "decrypt, ChaCha20-Poly1305",
	}, rows)
}

func (d *document) workers() {
	head, rows := []string{"MB/s"}, [][]string(nil)
	workers := d.fields("Workers", "workers")
	for _, w := range workers {
		head = append(head, "workers: "+bare(w))
	}
	for _, name := range d.fields("Workers", "op", "impl", "suite", "src") {
		src := "from memory"
		if value(name, "src") == "reader" {
			src = "from a reader"
		}
		row := []string{fmt.Sprintf("%s, %s, %s", value(name, "op"), suiteLabel(value(name, "suite")), src)}
		for _, w := range workers {
			row = append(row, d.speed("Workers/"+name+"/"+w))
		}
		rows = append(rows, row)
	}
	d.table("Bulla, 64 MiB, on two cores", head, rows)
}

// registers are those that a kernel of package aesgcm uses. The standard
// library's code has 128 bits.
var registers = map[string]string{"std": "xmm", "avx2": "ymm", "avx512": "zmm"}

func (d *document) limits() {
	const name = "Limits/instr=%s/width=%s"
	var rows [][]string
	for _, w := range d.fields("Limits", "width") {
		w = value(w, "width")
		mix := fmt.Sprintf(name, "mix", w)
		row := []string{w}
		for _, cell := range []struct{ name, unit, format string }{
			{fmt.Sprintf(name, "VAESENC", w), "cycles/instr", "%.2f"},
			{fmt.Sprintf(name, "VPCLMULQDQ", w), "cycles/instr", "%.2f"},
			{mix, "cycles/step", "%.2f"},
			{mix, "overlap", "%.2f"},
			{mix, "GHz", "%.2f"},
		} {
			text := ""
			if v, ok := d.median(cell.name, cell.unit); ok {
				text = fmt.Sprintf(cell.format, v)
			}
			row = append(row, text)
		}
		rows = append(rows, append(row, d.speed(mix)))
	}
	d.table("What bounds AES-256-GCM on this CPU", []string{
		"registers", "VAESENC, cycles", "VPCLMULQDQ, cycles", "14 + 3 of them, cycles", "overlap", "GHz", "bound, MB/s",
	}, rows)
	d.shares()
}

// shares sets throughputs against the bound of their registers.
func (d *document) shares() {
	var rows [][]string
	for _, im := range d.implementations("Encrypt") {
		kernel, ok := d.kernelOf(im)
		bound, found := d.median("Limits/instr=mix/width="+registers[kernel], "B/s")
		if !ok || !found {
			continue
		}
		row := []string{label(im) + " (" + registers[kernel] + ")"}
		for _, size := range []string{"1MiB", "64MiB"} {
			for _, bench := range []string{"Encrypt", "Decrypt"} {
				v, ok := d.median(bench+"/"+im+"/size="+size, "B/s")
				if !ok {
					row = append(row, "")
					continue
				}
				row = append(row, fmt.Sprintf("%.0f %%", 100*v/bound))
			}
		}
		rows = append(rows, row)
	}
	d.table("Share of that bound",
		[]string{"", "encrypt 1 MiB", "decrypt 1 MiB", "encrypt 64 MiB", "decrypt 64 MiB"}, rows)
}

// kernelOf tells which kernel an implementation of AES-256-GCM uses.
func (r *results) kernelOf(implementation string) (string, bool) {
	if value(implementation, "suite") != "aes256gcm" {
		return "", false
	}
	switch impl := value(implementation, "impl"); {
	case impl == "raw":
		return "std", true
	case impl == "bulla":
		return r.config["kernel"], true
	case isKernel(impl):
		return strings.TrimPrefix(impl, "bulla-"), true
	}
	return "", false
}
