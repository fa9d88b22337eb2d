package bulla_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// eachFile calls do with the contents of every file of the module's tree with
// one of the extensions.
func eachFile(t *testing.T, do func(path, text string), extensions ...string) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != "." {
			return filepath.SkipDir
		}
		for _, e := range extensions {
			if filepath.Ext(path) == e {
				b, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				do(path, string(b))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestCitedSectionsExist looks up every "SPEC §n" and "SPEC.md §n" in Go code
// and documents, and every "§n" of SPEC.md itself that is not another
// document's.
func TestCitedSectionsExist(t *testing.T) {
	spec := read(t, "SPEC.md")
	sections := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^##+ ([0-9.]*[0-9])\.? `).FindAllStringSubmatch(spec, -1) {
		sections[m[1]] = true
	}
	if len(sections) < 20 {
		t.Fatalf("only %d sections found in SPEC.md", len(sections))
	}
	cited := 0
	look := func(path, text, pattern string) {
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
			cited++
			if !sections[m[1]] {
				t.Errorf("%s cites SPEC §%s, which does not exist", path, m[1])
			}
		}
	}
	eachFile(t, func(path, text string) {
		look(path, text, `SPEC(?:\.md)?,? §([0-9]+(?:\.[0-9]+)*)`)
	}, ".go", ".md")
	foreign := regexp.MustCompile(`(?:RFC [0-9]+|SP\s800-[0-9A-Z]+) §[0-9.]+`)
	look("SPEC.md", foreign.ReplaceAllString(spec, ""), `§([0-9]+(?:\.[0-9]+)*)`)
	if cited < 100 {
		t.Errorf("only %d citations found", cited)
	}
}

// TestReadmeSnippetsAreExamples finds every Go snippet of README.md, line by
// line, in a row, in an example that is compiled.
func TestReadmeSnippetsAreExamples(t *testing.T) {
	var examples []string
	eachFile(t, func(path, text string) {
		if strings.HasSuffix(path, "example_test.go") {
			if _, err := parser.ParseFile(token.NewFileSet(), path, text, 0); err != nil {
				t.Error(err)
			}
			examples = append(examples, unindented(text))
		}
	}, ".go")
	snippets := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(read(t, "README.md"), -1)
	if len(snippets) == 0 {
		t.Fatal("README.md has no Go snippet")
	}
	for _, m := range snippets {
		found := false
		for _, e := range examples {
			found = found || strings.Contains(e, unindented(m[1]))
		}
		if !found {
			t.Errorf("this snippet of README.md is in no example:\n%s", m[1])
		}
	}
}

func unindented(text string) string {
	return regexp.MustCompile(`(?m)^[ \t]+`).ReplaceAllString(text, "")
}

// TestLinksInDocuments checks that relative links in documents lead to files.
func TestLinksInDocuments(t *testing.T) {
	links := 0
	eachFile(t, func(path, text string) {
		for _, m := range regexp.MustCompile(`\]\(([^)#:]+)\)`).FindAllStringSubmatch(text, -1) {
			links++
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), m[1])); err != nil {
				t.Errorf("%s links to %s: %v", path, m[1], err)
			}
		}
	}, ".md")
	if links == 0 {
		t.Error("no links found")
	}
}

// TestFiguresAreMeasured compares README.md's table of throughput with the
// report that it links to: rows of the same name, columns of the same size.
func TestFiguresAreMeasured(t *testing.T) {
	readme := read(t, "README.md")
	m := regexp.MustCompile(`\]\((bench/results/[^)]*report\.md)\)`).FindStringSubmatch(readme)
	if m == nil {
		t.Fatal("README.md does not link to a report")
	}
	report := read(t, m[1])
	encrypt := table(t, report, "## Encrypting\n")
	decrypt := table(t, report, "## Decrypting\n")
	figures := table(t, readme, "## Figures\n")
	compared := 0
	for name, row := range figures {
		for size, cell := range row {
			want := measured(encrypt[name][size]) + " / " + measured(decrypt[name][size])
			if compared++; cell != want {
				t.Errorf("%s, %s: README.md says %q, the report %q", name, size, cell, want)
			}
		}
	}
	if compared < 20 {
		t.Errorf("only %d figures found in README.md", compared)
	}
}

// measured returns a figure without its interval.
func measured(cell string) string {
	value, _, _ := strings.Cut(cell, " ±")
	return value
}

// table returns the cells, by row and column, of the first Markdown table
// after the given text.
func table(t *testing.T, document, text string) map[string]map[string]string {
	t.Helper()
	_, rest, ok := strings.Cut(document, text)
	if !ok {
		t.Fatalf("%q is not there", text)
	}
	var columns []string
	rows := map[string]map[string]string{}
	for line := range strings.Lines(rest) {
		if !strings.Contains(line, "|") {
			if columns != nil {
				break
			}
			continue
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.Trim(strings.TrimSpace(cells[i]), "*")
		}
		switch {
		case columns == nil:
			columns = cells
		case strings.HasPrefix(cells[0], "--"):
		default:
			rows[cells[0]] = map[string]string{}
			for i := 1; i < min(len(cells), len(columns)); i++ {
				rows[cells[0]][columns[i]] = cells[i]
			}
		}
	}
	return rows
}
