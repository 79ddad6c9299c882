package main

import (
	"math"
	"math/rand/v2"
	"reflect"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// filler puts values at random into requests.
type filler struct {
	r      *rand.Rand
	topics []string
}

const (
	maxFillElements = 3
	maxFillDepth    = 8
)

var odd = []string{
	"", "a", "hostile-group", "hostile-member", ".", "..", "../../etc", "__consumer_offsets", "__cluster_metadata",
	"with space", "\x00", "\xff\xfe", "é", "range", "consumer", strings.Repeat("x", 249), strings.Repeat("y", 1000),
}

var ints = []int64{0, 1, 2, -1, -2, 3, 7, 100, math.MaxInt8, math.MaxInt16, math.MaxInt32, math.MinInt32, math.MaxInt64, math.MinInt64}

func (f *filler) fill(req kmsg.Request) { f.value(reflect.ValueOf(req).Elem(), "", 0) }

func (f *filler) value(v reflect.Value, name string, depth int) {
	switch v.Kind() {
	case reflect.Struct:
		if depth > maxFillDepth {
			return
		}
		for i := range v.NumField() {
			field := v.Type().Field(i)
			if field.IsExported() && field.Name != "Version" && field.Name != "UnknownTags" {
				f.value(v.Field(i), field.Name, depth+1)
			}
		}
	case reflect.Pointer:
		if f.r.IntN(3) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			f.value(v.Elem(), name, depth)
		}
	case reflect.Slice:
		f.slice(v, name, depth)
	case reflect.Array:
		for i := range v.Len() {
			v.Index(i).SetUint(uint64(f.r.Uint32() & 0xff))
		}
	case reflect.String:
		v.SetString(f.text(name))
	case reflect.Bool:
		v.SetBool(f.r.IntN(2) == 0)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(f.number(name))
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(f.number(name)))
	case reflect.Float64:
		v.SetFloat([]float64{0, 1, -1, math.NaN(), math.Inf(1), math.MaxFloat64}[f.r.IntN(6)])
	default:
	}
}

func (f *filler) slice(v reflect.Value, name string, depth int) {
	if v.Type().Elem().Kind() == reflect.Uint8 {
		if name == "Records" {
			v.SetBytes(oddBatch(f.r))
			return
		}
		b := make([]byte, f.r.IntN(64))
		for i := range b {
			b[i] = byte(f.r.Uint32())
		}
		v.SetBytes(b)
		return
	}
	if f.r.IntN(8) == 0 {
		return // null or empty
	}
	n := 1 + f.r.IntN(maxFillElements)
	v.Set(reflect.MakeSlice(v.Type(), n, n))
	for i := range n {
		f.value(v.Index(i), name, depth+1)
	}
}

func (f *filler) text(name string) string {
	if strings.Contains(name, "Topic") && f.r.IntN(4) > 0 {
		return f.topics[f.r.IntN(len(f.topics))]
	}
	if f.r.IntN(200) == 0 {
		return strings.Repeat("z", 32767)
	}
	return odd[f.r.IntN(len(odd))]
}

// number is an edge mostly; times are short, so that few answers are held.
func (f *filler) number(name string) int64 {
	if strings.HasSuffix(name, "Millis") && f.r.IntN(10) > 0 {
		return int64(f.r.IntN(20))
	}
	if name == "Partition" && f.r.IntN(3) > 0 {
		return int64(f.r.IntN(2))
	}
	if f.r.IntN(4) == 0 {
		return f.r.Int64() >> f.r.IntN(64)
	}
	return ints[f.r.IntN(len(ints))]
}
