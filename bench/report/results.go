package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/perf/benchfmt"
	"golang.org/x/perf/benchmath"
)

// Results are parsed raw results.
type results struct {
	config  map[string]string // of the file: machine, go, commit, ...
	names   []string          // of benchmarks, in the order of their first appearance
	samples map[string]map[string]*benchmath.Sample
}

// confidence is that of the intervals around medians.
const confidence = 0.95

// parse reads the benchmark format. Names are without the number of cores at
// their end.
func parse(src io.Reader) (*results, error) {
	r := &results{config: map[string]string{}, samples: map[string]map[string]*benchmath.Sample{}}
	values := map[string]map[string][]float64{}
	reader := benchfmt.NewReader(src, "raw.txt")
	for reader.Scan() {
		switch record := reader.Result().(type) {
		case *benchfmt.SyntaxError:
			return nil, record
		case *benchfmt.Result:
			name := baseName(record.Name)
			if values[name] == nil {
				values[name] = map[string][]float64{}
				r.names = append(r.names, name)
			}
			for _, v := range record.Values {
				values[name][v.Unit] = append(values[name][v.Unit], v.Value)
			}
			for _, c := range record.Config {
				r.config[c.Key] = string(c.Value)
			}
		}
	}
	if err := reader.Err(); err != nil {
		return nil, err
	}
	if len(r.names) == 0 {
		return nil, errors.New("raw.txt: no benchmark results")
	}
	for name, units := range values {
		r.samples[name] = map[string]*benchmath.Sample{}
		for unit, v := range units {
			r.samples[name][unit] = benchmath.NewSample(v, &benchmath.DefaultThresholds)
		}
	}
	return r, nil
}

// baseName is a benchmark's name without the number of cores.
func baseName(name benchfmt.Name) string {
	base, parts := name.Parts()
	if n := len(parts); n > 0 && parts[n-1][0] == '-' {
		parts = parts[:n-1]
	}
	s := string(base)
	for _, p := range parts {
		s += string(p)
	}
	return s
}

// sample returns the measurements of a benchmark in a unit, or nil.
func (r *results) sample(name, unit string) *benchmath.Sample { return r.samples[name][unit] }

// median returns the median of a benchmark in a unit.
func (r *results) median(name, unit string) (float64, bool) {
	s := r.sample(name, unit)
	if s == nil {
		return 0, false
	}
	return benchmath.AssumeNothing.Summary(s, confidence).Center, true
}

// fields returns the different values that a key has in the names of a
// benchmark, in the order of their first appearance. Several keys give values
// joined as in the names: fields("Encrypt", "impl", "suite") has
// "impl=raw/suite=aes256gcm".
func (r *results) fields(bench string, keys ...string) []string {
	var all []string
	for _, name := range r.names {
		parts := strings.Split(name, "/")
		if parts[0] != bench {
			continue
		}
		var found []string
		for _, part := range parts[1:] {
			if key, _, _ := strings.Cut(part, "="); slices.Contains(keys, key) {
				found = append(found, part)
			}
		}
		if s := strings.Join(found, "/"); len(found) == len(keys) && !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return all
}

// implementations are those of a benchmark, "impl=raw/suite=aes256gcm", with
// Bulla's other kernels right behind Bulla.
func (r *results) implementations(bench string) []string {
	all := r.fields(bench, "impl", "suite")
	rank := func(im string) int {
		switch impl := value(im, "impl"); {
		case impl == "raw":
			return 0
		case impl == "bulla":
			return 1
		case isKernel(impl):
			return 2
		}
		return 3
	}
	slices.SortStableFunc(all, func(a, b string) int { return cmp.Compare(rank(a), rank(b)) })
	return all
}

// isKernel tells whether an implementation is Bulla with a kernel that was
// asked for.
func isKernel(impl string) bool { return strings.HasPrefix(impl, "bulla-") }

// value is what stands behind a key in a name.
func value(name, key string) string {
	for part := range strings.SplitSeq(name, "/") {
		if v, ok := strings.CutPrefix(part, key+"="); ok {
			return v
		}
	}
	return ""
}

// bytesOf reads a size as benchmark names have it: "64KiB".
func bytesOf(size string) float64 {
	var n float64
	var unit string
	if _, err := fmt.Sscanf(size, "%g%s", &n, &unit); err != nil {
		return 0
	}
	return n * map[string]float64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}[unit]
}

// label names an implementation with its suite for readers.
func label(implementation string) string {
	names := map[string]string{
		"raw":      "AEAD alone",
		"bulla":    "Bulla",
		"sio":      "minio/sio",
		"sio-go":   "secure-io/sio-go",
		"tink-1MB": "Tink, 1 MB segments",
		"tink-4KB": "Tink, 4 KB segments",
		"age":      "age",
		"rclone":   "rclone crypt",
		"aws-esdk": "AWS Encryption SDK",
	}
	impl := value(implementation, "impl")
	name, ok := names[impl]
	if kernel, isBulla := strings.CutPrefix(impl, "bulla-"); isBulla {
		name = "Bulla, kernel " + kernel
		if kernel == "std" {
			name = "Bulla, no kernel"
		}
	} else if !ok {
		name = impl
	}
	return name + ", " + suiteLabel(value(implementation, "suite"))
}

func suiteLabel(suite string) string {
	switch suite {
	case "aes256gcm":
		return "AES-256-GCM"
	case "chacha20poly1305":
		return "ChaCha20-Poly1305"
	case "xsalsa20poly1305":
		return "XSalsa20-Poly1305"
	}
	return suite
}
