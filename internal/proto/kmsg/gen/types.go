package main

import (
	"fmt"
	"strconv"
	"strings"
)

// primitive is how a type of the definitions looks in Go.
type primitive struct {
	goType string
	method string // of Reader and Writer, for types of fixed size
	size   int    // on the wire; 0 if it varies
}

var primitives = map[string]primitive{
	"bool":    {"bool", "Bool", 1},
	"int8":    {"int8", "Int8", 1},
	"int16":   {"int16", "Int16", 2},
	"uint16":  {"uint16", "Uint16", 2},
	"int32":   {"int32", "Int32", 4},
	"uint32":  {"uint32", "Uint32", 4},
	"int64":   {"int64", "Int64", 8},
	"float64": {"float64", "Float64", 8},
	"uuid":    {"base.TopicID", "UUID", 16},
	"string":  {"string", "", 0},
	"bytes":   {"[]byte", "", 0},
	"records": {"Records", "", 0},
}

// elemGo is the Go type of the field's element (of the field itself if it is no array).
func (f *field) elemGo() string {
	if f.strct != nil {
		return f.strct.goName
	}
	return primitives[f.elem].goType
}

// goType is the Go type of the field.
func (f *field) goType() string {
	switch t := f.elemGo(); {
	case f.array:
		return "[]" + t
	case f.isPointer():
		return "*" + t
	default:
		return t
	}
}

// isPointer reports whether null is a nil pointer.
func (f *field) isPointer() bool {
	return !f.array && !f.nullable.empty() && (f.strct != nil || f.elem == "string")
}

func (f *field) isScalar() bool {
	return !f.array && f.strct == nil && primitives[f.elem].size > 0
}

// defaultText is the default as text: the definitions quote it or not, as they like. But a null
// without quotes is no default at all for Kafka's generator, so that the field begins as an empty
// value and a null is written out; logs written by Kafka depend on that.
func (f *field) defaultText() string {
	if string(f.Default) == "null" {
		return ""
	}
	return strings.Trim(string(f.Default), `"`)
}

func (f *field) nullDefault() bool { return f.defaultText() == "null" }

// defaultGo is the Go expression of the field's default; "" if that is Go's zero value.
func (f *field) defaultGo() string {
	d := f.defaultText()
	switch {
	case f.isScalar() && f.elem != "uuid" && d != "" && d != "0" && d != "false":
		return d
	case f.isPointer() && f.elem == "string" && !f.nullDefault():
		return fmt.Sprintf("new(%q)", d)
	case f.elem == "string" && !f.array && !f.isPointer() && d != "" && d != "null":
		return strconv.Quote(d)
	case f.isPointer() && !f.nullDefault():
		return "new(New" + f.strct.goName + "())"
	case f.strct != nil && !f.array && !f.isPointer() && f.strct.hasDefaults():
		return "New" + f.strct.goName + "()"
	case (f.array || f.elem == "bytes") && !f.nullable.empty() && !f.nullDefault():
		return f.goType() + "{}"
	}
	return ""
}

// hasDefaults reports whether the struct's default differs from Go's zero value.
func (s *structDef) hasDefaults() bool {
	for _, f := range s.Fields {
		if f.defaultGo() != "" {
			return true
		}
	}
	return false
}

// notDefault is the Go expression that tells whether the field differs from its default.
func (f *field) notDefault(x string) string {
	d := f.defaultGo()
	switch {
	case f.elem == "records" && !f.array:
		return "!" + x + ".IsNull()"
	case f.array || f.elem == "bytes":
		if f.nullDefault() {
			return x + " != nil"
		}
		if !f.nullable.empty() {
			return "(" + x + " == nil || len(" + x + ") != 0)"
		}
		return "len(" + x + ") != 0"
	case f.isPointer() && f.nullDefault():
		return x + " != nil"
	case f.isPointer() && f.elem == "string":
		return fmt.Sprintf("(%s == nil || *%s != %q)", x, x, f.defaultText())
	case f.isPointer():
		return fmt.Sprintf("(%s == nil || !%s.isDefault())", x, x)
	case f.strct != nil:
		return "!" + x + ".isDefault()"
	case f.elem == "bool" && d == "":
		return x
	case f.elem == "bool":
		return "!" + x
	case f.elem == "uuid":
		return "!" + x + ".IsZero()"
	case d != "":
		return x + " != " + d
	case f.elem == "string":
		return x + ` != ""`
	}
	return x + " != 0"
}

// minSize is the least number of bytes that one element of f takes at version v.
func (f *field) minElem(v int) int {
	if f.strct != nil {
		return f.strct.minSize(v, f.flexed)
	}
	if n := primitives[f.elem].size; n > 0 {
		return n
	}
	switch {
	case f.flexed.has(v):
		return 1
	case f.elem == "string":
		return 2
	}
	return 4
}

func (s *structDef) minSize(v int, flexible versions) int {
	n := 0
	if flexible.has(v) {
		n++ // the number of tagged fields
	}
	for _, f := range s.Fields {
		switch {
		case !f.versions.has(v) || f.tagged.has(v):
		case f.array && f.flexed.has(v):
			n++
		case f.array:
			n += 4
		case f.strct != nil && !f.nullable.empty():
			n++
		default:
			n += f.minElem(v)
		}
	}
	return n
}

// minElemAll is minElem at the version where it is least.
func (f *field) minElemAll() int {
	least := 0
	for v := f.versions.lo; v <= f.versions.hi; v++ {
		if n := f.minElem(v); least == 0 || n < least {
			least = n
		}
	}
	return max(least, 1)
}

// apiName is the name of a request's or response's API.
func (m *message) apiName() string {
	return strings.TrimSuffix(strings.TrimSuffix(m.Name, "Request"), "Response")
}

func (m *message) isAPI() bool { return m.Type == "request" || m.Type == "response" }
