// Command gen writes the codec of package kmsg from the message definitions inside Apache Kafka's
// jars. It reads the jars from a local Maven repository; fetch the missing ones with
//
//	mvn dependency:get -Dartifact=org.apache.kafka:ARTIFACT:VERSION
//
// for each artifact in the list below. Nothing of the definitions but names, types, versions and
// defaults goes into the output.
//
// It owns the zz_ files of package kmsg and nothing else. It must not know what messages are for. It
// runs in one goroutine.
//
// Invariants:
//  1. The same jars give the same files, byte for byte.
//  2. A definition it does not understand stops it; it never guesses.
package main

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
)

// artifacts are the jars that hold message definitions.
var artifacts = []string{
	"kafka-clients",
	"kafka-group-coordinator",
	"kafka-transaction-coordinator",
	"kafka-share-coordinator",
	"kafka-metadata",
	"kafka-raft",
	"kafka-storage",
}

func main() {
	home, _ := os.UserHomeDir()
	m2 := flag.String("m2", filepath.Join(home, ".m2", "repository"), "local Maven `repository`")
	version := flag.String("version", "4.3.1", "Kafka `version`")
	out := flag.String("out", ".", "output `directory`")
	flag.Parse()
	if err := run(*m2, *version, *out); err != nil {
		fmt.Fprintln(os.Stderr, "kmsg/gen:", err)
		os.Exit(1)
	}
}

func run(m2, version, out string) error {
	ms, err := load(m2, version)
	if err != nil {
		return err
	}
	files := map[string]*printer{}
	for _, m := range ms {
		name := fileName(m)
		if files[name] == nil {
			files[name] = &printer{}
		}
		files[name].message(m)
	}
	files["zz_tables.go"] = tables(ms)
	files["zz_messages_test.go"] = testTables(ms)
	return write(out, files)
}

func load(m2, version string) ([]*message, error) {
	var ms []*message
	for _, a := range artifacts {
		jar := filepath.Join(m2, "org", "apache", "kafka", a, version, a+"-"+version+".jar")
		some, err := loadJar(jar, a)
		if err != nil {
			return nil, fmt.Errorf("%w (fetch it with: mvn dependency:get -Dartifact=org.apache.kafka:%s:%s)",
				err, a, version)
		}
		ms = append(ms, some...)
	}
	slices.SortFunc(ms, func(a, b *message) int { return cmp.Compare(a.Name, b.Name) })
	names := map[string]string{}
	for _, m := range ms {
		for _, s := range m.structs {
			if other, ok := names[s.goName]; ok {
				return nil, fmt.Errorf("%s and %s both define %s", other, m.Name, s.goName)
			}
			names[s.goName] = m.Name
		}
	}
	return ms, nil
}

// fileName groups a request with its response and a record's key with its value.
func fileName(m *message) string {
	if m.isAPI() {
		return fmt.Sprintf("zz_%02d_%s.go", *m.APIKey, snake(m.apiName()))
	}
	name := m.Name
	if strings.HasPrefix(m.Type, "coordinator-") {
		name = strings.TrimSuffix(strings.TrimSuffix(name, "Key"), "Value") + "Record"
	}
	return "zz_" + snake(name) + ".go"
}

func snake(s string) string {
	var b strings.Builder
	rs := []rune(s)
	for i, r := range rs {
		startsWord := i > 0 && unicode.IsUpper(r) &&
			(!unicode.IsUpper(rs[i-1]) || i+1 < len(rs) && unicode.IsLower(rs[i+1]))
		if startsWord {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// write replaces the generated files in dir.
func write(dir string, files map[string]*printer) error {
	old, err := filepath.Glob(filepath.Join(dir, "zz_*.go"))
	if err != nil {
		return err
	}
	for _, f := range old {
		if files[filepath.Base(f)] != nil {
			continue
		}
		if err := os.Remove(f); err != nil {
			return err
		}
	}
	for name, p := range files {
		src, err := p.source()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), src, 0o644); err != nil {
			return err
		}
	}
	return nil
}
