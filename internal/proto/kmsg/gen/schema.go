package main

import (
	"archive/zip"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// message is one message-definition file.
type message struct {
	Artifact         string `json:"-"` // the artifact whose jar holds it
	APIKey           *int16 `json:"apiKey"`
	Type             string
	Name             string
	Listeners        []string
	ValidVersions    string
	FlexibleVersions string
	Unstable         bool `json:"latestVersionUnstable"`
	Fields           []*field
	CommonStructs    []*structDef

	valid, flexible versions
	structs         []*structDef // nested first
	byName          map[string]*structDef
}

type structDef struct {
	Name     string
	Versions string
	Fields   []*field

	goName   string
	versions versions
	needZero bool // some tagged field of this type must be compared to its default
}

type field struct {
	Name             string
	Type             string
	Versions         string
	TaggedVersions   string
	NullableVersions string
	FlexibleVersions *string
	Tag              *int
	Default          json.RawMessage
	Fields           []*field

	goName                             string
	versions, tagged, nullable, flexed versions
	elem                               string // element type; same as Type if not an array
	array                              bool
	strct                              *structDef
}

var lineComment = regexp.MustCompile(`(?m)^\s*//.*$`)

// loadJar reads every message definition in a jar.
func loadJar(file, artifact string) ([]*message, error) {
	z, err := zip.OpenReader(file)
	if err != nil {
		return nil, fmt.Errorf("open jar: %w", err)
	}
	defer z.Close()
	var ms []*message
	for _, f := range z.File {
		dir := path.Base(path.Dir(f.Name))
		if path.Ext(f.Name) != ".json" || dir != "message" && dir != "metadata" {
			continue
		}
		m, err := loadMessage(f)
		if err != nil {
			return nil, fmt.Errorf("%s in %s: %w", f.Name, file, err)
		}
		m.Artifact = artifact
		if m.ValidVersions != "none" {
			ms = append(ms, m)
		}
	}
	return ms, nil
}

func loadMessage(f *zip.File) (*message, error) {
	rc, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	text, err := io.ReadAll(rc)
	if err != nil {
		return nil, err
	}
	m := &message{byName: map[string]*structDef{}}
	if err := json.Unmarshal(lineComment.ReplaceAll(text, nil), m); err != nil {
		return nil, err
	}
	return m, m.resolve()
}

// renamed are fields whose name is taken by a method of the message.
var renamed = map[string]string{"FindCoordinatorRequest.Key": "CoordinatorKey"}

// resolve parses version ranges and links each field to its struct.
func (m *message) resolve() error {
	if m.ValidVersions == "none" {
		return nil
	}
	m.valid = parseVersions(m.ValidVersions)
	m.flexible = parseVersions(m.FlexibleVersions).and(m.valid)
	for _, s := range m.CommonStructs {
		m.byName[s.Name] = s
		s.goName, s.versions = m.Name+s.Name, parseVersions(s.Versions).and(m.valid)
	}
	top := &structDef{Name: m.Name, goName: m.Name, Fields: m.Fields, versions: m.valid}
	for _, s := range m.CommonStructs {
		if err := m.resolveFields(s); err != nil {
			return err
		}
		m.structs = append(m.structs, s)
	}
	if err := m.resolveFields(top); err != nil {
		return err
	}
	m.structs = append([]*structDef{top}, m.structs...)
	return nil
}

func (m *message) resolveFields(s *structDef) error {
	for _, f := range s.Fields {
		if err := m.resolveField(s, f); err != nil {
			return fmt.Errorf("field %s of %s: %w", f.Name, s.Name, err)
		}
	}
	// Some fields were only ever in versions that are gone.
	s.Fields = slices.DeleteFunc(s.Fields, func(f *field) bool { return f.versions.empty() })
	return nil
}

func (m *message) resolveField(s *structDef, f *field) error {
	f.goName = strings.ToUpper(f.Name[:1]) + f.Name[1:]
	if n, ok := renamed[s.Name+"."+f.goName]; ok {
		f.goName = n
	}
	if f.Versions == "" { // some coordinator records have tagged versions only
		f.Versions = f.TaggedVersions
	}
	f.versions = parseVersions(f.Versions).and(s.versions)
	f.nullable = parseVersions(f.NullableVersions).and(f.versions)
	f.flexed = m.flexible
	if f.FlexibleVersions != nil {
		f.flexed = parseVersions(*f.FlexibleVersions).and(m.flexible)
	}
	f.tagged = parseVersions(f.TaggedVersions).and(f.versions)
	if f.Versions == "" {
		return fmt.Errorf("no versions")
	}
	if (f.Tag != nil) != (f.TaggedVersions != "") {
		return fmt.Errorf("tag without taggedVersions or the other way round")
	}
	f.elem, f.array = strings.CutPrefix(f.Type, "[]")
	if _, ok := primitives[f.elem]; ok {
		return nil
	}
	if len(f.Fields) > 0 {
		d := &structDef{Name: f.elem, goName: m.Name + f.elem, Fields: f.Fields, versions: f.versions}
		if m.byName[d.Name] != nil {
			return fmt.Errorf("struct %s is defined twice", d.Name)
		}
		m.byName[d.Name] = d
		if err := m.resolveFields(d); err != nil {
			return err
		}
		m.structs = append(m.structs, d)
	}
	f.strct = m.byName[f.elem]
	if f.strct == nil {
		return fmt.Errorf("unknown type %s", f.Type)
	}
	if !f.tagged.empty() && !f.array && !f.nullDefault() {
		f.strct.needZero = true
	}
	return nil
}

// taggedFields returns the fields that have a tag, by tag.
func (s *structDef) taggedFields() []*field {
	var fs []*field
	for _, f := range s.Fields {
		if !f.tagged.empty() {
			fs = append(fs, f)
		}
	}
	sort.Slice(fs, func(i, j int) bool { return *fs[i].Tag < *fs[j].Tag })
	return fs
}

// versions is an inclusive range.
type versions struct{ lo, hi int }

const maxVersion = 1 << 15

var noVersions = versions{0, -1}

func parseVersions(s string) versions {
	if s == "" || s == "none" {
		return noVersions
	}
	if lo, ok := strings.CutSuffix(s, "+"); ok {
		return versions{mustInt(lo), maxVersion}
	}
	if lo, hi, ok := strings.Cut(s, "-"); ok {
		return versions{mustInt(lo), mustInt(hi)}
	}
	return versions{mustInt(s), mustInt(s)}
}

func mustInt(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(fmt.Sprintf("version %q: %v", s, err))
	}
	return n
}

func (v versions) empty() bool { return v.hi < v.lo }

func (v versions) and(w versions) versions {
	r := versions{max(v.lo, w.lo), min(v.hi, w.hi)}
	if r.empty() {
		return noVersions
	}
	return r
}

func (v versions) has(n int) bool { return v.lo <= n && n <= v.hi }

// cond is the Go expression for "version is in v", given that it is in within.
func (v versions) cond(within versions) string {
	v = v.and(within)
	switch {
	case v.empty():
		return "false"
	case v == within:
		return "true"
	case v.lo == within.lo && v.hi == within.lo:
		return fmt.Sprintf("version == %d", v.lo)
	case v.lo == v.hi:
		return fmt.Sprintf("version == %d", v.lo)
	case v.hi == within.hi:
		return fmt.Sprintf("version >= %d", v.lo)
	case v.lo == within.lo:
		return fmt.Sprintf("version <= %d", v.hi)
	}
	return fmt.Sprintf("version >= %d && version <= %d", v.lo, v.hi)
}

// label is v as people write it, given the message's valid versions.
func (v versions) label(valid versions) string {
	switch {
	case v.empty():
		return "none"
	case v.lo == v.hi:
		return fmt.Sprintf("v%d", v.lo)
	case v.hi == valid.hi:
		return fmt.Sprintf("v%d+", v.lo)
	}
	return fmt.Sprintf("v%d-%d", v.lo, v.hi)
}
