package kmsg

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"

	"github.com/logstead/logstead/internal/kit/base"
)

type messageInfo struct {
	name     string
	new      func() Message
	min, max int16
	flex     int16
}

type fieldInfo struct{ lo, hi, nullLo, nullHi int16 }

// filler sets a message's fields to random values that one version can carry.
type filler struct {
	rnd     *rand.Rand
	version int16
	wide    bool // long strings and arrays
}

func (f filler) message(m Message) { f.value(reflect.ValueOf(m).Elem(), fieldInfo{nullHi: -1}) }

func (f filler) value(v reflect.Value, info fieldInfo) {
	null := info.nullLo <= f.version && f.version <= info.nullHi && f.rnd.IntN(4) == 0
	switch x := v.Addr().Interface().(type) {
	case *base.TopicID:
		for i := range x {
			x[i] = byte(f.rnd.Uint32())
		}
		return
	case *Records:
		if *x = (Records{}); !null {
			x.Bytes = f.bytes()
		}
		return
	case *[]byte:
		if *x = nil; !null {
			*x = f.bytes()
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		f.structure(v)
	case reflect.Pointer:
		v.SetZero()
		if !null {
			v.Set(reflect.New(v.Type().Elem()))
			f.value(v.Elem(), fieldInfo{nullHi: -1})
		}
	case reflect.Slice:
		v.SetZero()
		if !null {
			v.Set(reflect.MakeSlice(v.Type(), f.length(), 8))
			for i := range v.Len() {
				f.value(v.Index(i), fieldInfo{nullHi: -1})
			}
		}
	case reflect.String:
		v.SetString(string(f.bytes()))
	case reflect.Bool:
		v.SetBool(f.rnd.IntN(2) == 0)
	case reflect.Uint16, reflect.Uint32:
		v.SetUint(uint64(f.rnd.Uint32()) & (1<<v.Type().Bits() - 1))
	case reflect.Float64:
		v.SetFloat(f.rnd.NormFloat64())
	default:
		v.SetInt(int64(f.rnd.Uint64()) >> (64 - v.Type().Bits()) >> (f.rnd.IntN(2) * 7))
	}
}

func (f filler) structure(v reflect.Value) {
	v.Addr().Interface().(interface{ Default() }).Default()
	for i := range v.NumField() {
		name := v.Type().Name() + "." + v.Type().Field(i).Name
		info, ok := allFields[name]
		if !ok {
			panic("no versions of " + name)
		}
		if info.lo <= f.version && f.version <= info.hi && f.rnd.IntN(5) != 0 {
			f.value(v.Field(i), info)
		} else {
			f.fixNull(v.Field(i), info)
		}
	}
}

// fixNull gives a field that keeps its default a value if the default is null and the version
// forbids that.
func (f filler) fixNull(v reflect.Value, info fieldInfo) {
	inRange := info.lo <= f.version && f.version <= info.hi
	nullable := info.nullLo <= f.version && f.version <= info.nullHi
	canBeNull := v.Kind() == reflect.Pointer || v.Kind() == reflect.Slice || v.Type() == reflect.TypeFor[Records]()
	if inRange && !nullable && canBeNull {
		f.value(v, fieldInfo{nullHi: -1})
	}
}

func (f filler) length() int {
	if f.wide {
		return f.rnd.IntN(4)
	}
	return f.rnd.IntN(3)
}

func (f filler) bytes() []byte {
	n := f.rnd.IntN(6)
	if f.wide && f.rnd.IntN(8) == 0 {
		n = 120 + f.rnd.IntN(200)
	}
	b := make([]byte, n)
	for i := range b {
		b[i] = 'a' + byte(f.rnd.IntN(26))
	}
	return b
}

// diff names the first place where a and b differ; an empty array that may not be null equals nil.
func diff(path string, a, b reflect.Value, nullable bool) string {
	switch a.Kind() {
	case reflect.Slice:
		if nullable && a.IsNil() != b.IsNil() || a.Len() != b.Len() {
			return fmt.Sprintf("%s: %v against %v", path, a, b)
		}
		for i := range a.Len() {
			if d := diff(fmt.Sprintf("%s[%d]", path, i), a.Index(i), b.Index(i), false); d != "" {
				return d
			}
		}
	case reflect.Pointer:
		if a.IsNil() != b.IsNil() {
			return fmt.Sprintf("%s: nil %v against nil %v", path, a.IsNil(), b.IsNil())
		}
		if !a.IsNil() {
			return diff(path, a.Elem(), b.Elem(), false)
		}
	case reflect.Struct:
		if x, ok := a.Interface().(Records); ok {
			y := b.Interface().(Records)
			if x.IsNull() != y.IsNull() || !bytes.Equal(x.Bytes, y.Bytes) {
				return fmt.Sprintf("%s: %v against %v", path, x, y)
			}
			return ""
		}
		for i := range a.NumField() {
			info := allFields[a.Type().Name()+"."+a.Type().Field(i).Name]
			name := path + "." + a.Type().Field(i).Name
			if d := diff(name, a.Field(i), b.Field(i), info.nullHi >= 0); d != "" {
				return d
			}
		}
	default:
		if !reflect.DeepEqual(a.Interface(), b.Interface()) {
			return fmt.Sprintf("%s: %v against %v", path, a, b)
		}
	}
	return ""
}

func diffMessages(a, b Message) string {
	return diff("", reflect.ValueOf(a).Elem(), reflect.ValueOf(b).Elem(), false)
}
