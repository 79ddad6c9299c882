package archtest

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const (
	root   = "../.."
	module = "github.com/logstead/logstead/"
)

// floors are the groups of packages, lowest first, and what each may import of the house besides
// itself. A package belongs to the longest prefix that fits.
var floors = []struct {
	prefix  string
	imports []string
}{
	{"internal/kit", nil},
	{"internal/proto", []string{"internal/kit"}},
	{"internal/conf", []string{"internal/kit"}},
	{"internal/storage", []string{"internal/kit", "internal/proto"}},
	{"internal/cluster", []string{"internal/kit", "internal/proto", "internal/conf", "internal/storage"}},
	{"internal/broker", []string{"internal/kit", "internal/proto", "internal/conf", "internal/storage", "internal/cluster"}},
	{"internal/node", []string{
		"internal/kit", "internal/proto", "internal/conf", "internal/storage", "internal/cluster", "internal/broker",
	}},
	{"internal/cli", []string{
		"internal/kit", "internal/proto", "internal/conf", "internal/storage", "internal/cluster", "internal/node",
	}},
	{"internal/archtest", nil},
	{"internal/sim", nil}, // all of it is tests
	{"cmd/logstead", []string{"internal/cli"}},
	{"interop", []string{"internal/proto", "internal/kit"}},
	{"bench", []string{"internal"}},
}

// within are the rules inside a floor: what the first may never import of the others.
var within = map[string][]string{
	"internal/broker/partition": {"internal/broker/api", "internal/broker/server", "internal/broker/coord", "internal/cluster"},
	"internal/broker/replica":   {"internal/broker/api", "internal/broker/server", "internal/broker/coord", "internal/cluster"},
	"internal/broker/coord":     {"internal/broker/api", "internal/broker/server", "internal/broker/group", "internal/broker/txn"},
	"internal/broker/group":     {"internal/broker/api", "internal/broker/server", "internal/broker/partition", "internal/storage"},
	"internal/broker/txn":       {"internal/broker/api", "internal/broker/server", "internal/broker/partition", "internal/storage"},
	"internal/broker/api":       {"internal/broker/server", "internal/node"},
	"internal/cluster/meta":     {"internal/cluster/controller", "internal/storage"},
	"internal/kit/base":         {"internal/kit/vfs", "internal/kit/obs", "internal/kit/clock"},
}

// source is one Go file of the module, tests left out.
type source struct {
	dir     string // below the root
	imports []string
	doc     bool
}

func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			name := d.Name()
			if path != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "node_modules") {
				return filepath.SkipDir
			}
			if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil && path != root {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		s := source{dir: filepath.ToSlash(rel), doc: f.Doc != nil}
		for _, im := range f.Imports {
			p, err := strconv.Unquote(im.Path.Value)
			if err != nil {
				return err
			}
			if ours, ok := strings.CutPrefix(p, module); ok {
				s.imports = append(s.imports, ours)
			}
		}
		all = append(all, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func under(dir, prefix string) bool { return dir == prefix || strings.HasPrefix(dir, prefix+"/") }

// TestArchImports keeps imports going down.
func TestArchImports(t *testing.T) {
	files := sources(t)
	if len(files) < 100 {
		t.Fatalf("only %d Go files found: the walk is broken", len(files))
	}
	for _, s := range files {
		floor := -1
		for i, f := range floors {
			if under(s.dir, f.prefix) {
				floor = i
			}
		}
		if floor < 0 {
			t.Errorf("%s is on no floor: add it to the table", s.dir)
			continue
		}
		for _, im := range s.imports {
			allowed := under(im, floors[floor].prefix)
			for _, p := range floors[floor].imports {
				allowed = allowed || under(im, p)
			}
			if !allowed {
				t.Errorf("%s imports %s, which is not below it", s.dir, im)
			}
			for _, never := range within[s.dir] {
				if under(im, never) {
					t.Errorf("%s imports %s, which it must not know", s.dir, im)
				}
			}
		}
	}
}

// TestArchDocs wants a package doc everywhere.
func TestArchDocs(t *testing.T) {
	docs := map[string]bool{}
	for _, s := range sources(t) {
		docs[s.dir] = docs[s.dir] || s.doc
	}
	for dir, has := range docs {
		if !has {
			t.Errorf("package in %s has no doc comment", dir)
		}
	}
}

// TestArchFiles wants what a reader of the repository looks for.
func TestArchFiles(t *testing.T) {
	for _, name := range []string{
		"README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE", "Makefile", ".ci/run",
		"docs/config.md", "docs/metrics.md", "docs/testing.md", "docs/dependencies.md", "docs/adr/README.md",
	} {
		if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(name))); err != nil {
			t.Errorf("%s is missing", name)
		}
	}
}
