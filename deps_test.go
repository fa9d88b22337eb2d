package bulla_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/bulla-format/bulla"

// layers says what each package may import, beside the standard library: its
// own module's packages, and other modules by the start of their paths. What
// has no entry must not exist.
var layers = map[string][]string{
	"":                       {},
	"format":                 {},
	"internal/aesgcm":        {"github.com/klauspost/cpuid/"},
	"internal/segment":       {"format", "internal/aesgcm", "golang.org/x/crypto/"},
	"keywrap":                {"format", "golang.org/x/crypto/"},
	"keywrap/keywraptest":    {"format", "keywrap"},
	"keywrap/awskms":         {"format", "keywrap", "github.com/aws/"},
	"keywrap/awskms/kmstest": {"github.com/aws/"},
	"stream":                 {"format", "keywrap", "internal/segment", "github.com/klauspost/cpuid/"},
	"internal/s3header":      {"format"},
	"s3upload":               {"format", "keywrap", "stream", "internal/s3header", "github.com/aws/", "golang.org/x/sync/"},
	"s3download":             {"format", "keywrap", "stream", "internal/s3header", "github.com/aws/", "golang.org/x/sync/"},
	"s3fs":                   {"format", "keywrap", "stream", "s3download", "internal/s3header", "github.com/aws/", "golang.org/x/sync/"},
	"cmd/bulla": {
		"format", "keywrap", "keywrap/awskms", "stream", "s3upload", "s3download", "github.com/aws/",
		"github.com/spf13/", "github.com/vbauerster/mpb/", "golang.org/x/term",
	},
	"fuzz":                 {},
	"interop":              {"format", "keywrap", "stream"},
	"internal/vectors":     {},
	"internal/vectors/gen": {"golang.org/x/crypto/"},
}

func goList(t *testing.T, args ...string) []string {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list"}, args...)...).Output()
	if err != nil {
		t.Fatalf("go list %v: %v", args, err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

func TestLayers(t *testing.T) {
	seen := map[string]bool{}
	for _, line := range goList(t, "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...") {
		fields := strings.Fields(line)
		name := strings.TrimPrefix(strings.TrimPrefix(fields[0], module), "/")
		allowed, ok := layers[name]
		if !ok {
			t.Errorf("package %s has no entry in layers", fields[0])
			continue
		}
		seen[name] = true
		for _, path := range fields[1:] {
			if first, _, _ := strings.Cut(path, "/"); !strings.Contains(first, ".") {
				continue // the standard library
			}
			own, isOwn := strings.CutPrefix(path, module+"/")
			if isOwn && slices.Contains(allowed, own) {
				continue
			}
			if !isOwn && slices.ContainsFunc(allowed, func(a string) bool {
				return strings.Contains(a, ".") && strings.HasPrefix(path+"/", strings.TrimSuffix(a, "/")+"/")
			}) {
				continue
			}
			t.Errorf("%s must not import %s", fields[0], path)
		}
	}
	for name := range layers {
		if !seen[name] {
			t.Errorf("layers names %q, which does not exist", name)
		}
	}
}

// TestNoSDKInTheCore proves that importing the codec does not bring the AWS
// SDK along, not even indirectly.
func TestNoSDKInTheCore(t *testing.T) {
	deps := goList(t, "-deps", "./format", "./keywrap", "./stream")
	if len(deps) < 50 {
		t.Fatalf("only %d dependencies listed", len(deps))
	}
	for _, path := range deps {
		if strings.HasPrefix(path, "github.com/aws/") {
			t.Errorf("the core depends on %s", path)
		}
	}
}
