package main

import (
	"archive/zip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestVersionConditions(t *testing.T) {
	all := versions{0, 9}
	for text, want := range map[string]string{
		"0+": "true", "none": "false", "": "false", "3+": "version >= 3", "0-4": "version <= 4",
		"2-5": "version >= 2 && version <= 5", "0": "version == 0", "7": "version == 7", "12+": "false",
	} {
		if got := parseVersions(text).cond(all); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestSnake(t *testing.T) {
	for in, want := range map[string]string{
		"Produce": "produce", "KRaftVersionRecord": "k_raft_version_record", "EndTxnMarker": "end_txn_marker",
	} {
		if got := snake(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

// jar writes a jar with one definition.
func jar(t *testing.T, definition string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "a.jar")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(f)
	w, err := z.Create("common/message/X.json")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(definition)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return file
}

func definition(fields string) string {
	return `// licence
	{ "type": "data", "name": "X", "validVersions": "0-3", "flexibleVersions": "2+", "fields": [` + fields + `]}`
}

func TestGenerate(t *testing.T) {
	ms, err := loadJar(jar(t, definition(`
		// a comment
		{"name": "old", "type": "string", "versions": "0-1", "nullableVersions": "0-1"},
		{"name": "ids", "type": "[]int32", "versions": "0+"},
		{"name": "t", "type": "int64", "taggedVersions": "2+", "tag": 0, "default": -1}`)), "a")
	if err != nil {
		t.Fatal(err)
	}
	var p printer
	p.message(ms[0])
	src, err := p.source()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Old *string // v0-1, nullable", "if version <= 1 {", "r.arrayLen(flex, false, 4)", "T:   -1,",
		"if m.T != -1 {", "case tag == 0:",
	} {
		if !strings.Contains(string(src), want) {
			t.Errorf("no %q in\n%s", want, src)
		}
	}
}

func TestRefusals(t *testing.T) {
	const nested = `{"name": "a", "type": "S", "versions": "0+",
		"fields": [{"name": "b", "type": "int8", "versions": "0+"}]}`
	for name, fields := range map[string]string{
		"unknown type":      `{"name": "a", "type": "int128", "versions": "0+"}`,
		"no versions":       `{"name": "a", "type": "int8"}`,
		"tag alone":         `{"name": "a", "type": "int8", "versions": "0+", "tag": 1}`,
		"struct twice":      nested + "," + nested,
		"not a definition":  `{`,
		"tagged without id": `{"name": "a", "type": "int8", "versions": "0+", "taggedVersions": "2+"}`,
	} {
		if _, err := loadJar(jar(t, definition(fields)), "a"); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
