package parity

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/logstead/logstead/internal/kit/base"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// masked are fields whose value depends on the machine, the clock or the wording; the record says
// only whether they are set.
var masked = map[string]bool{
	"ErrorMessage": true, "Host": true, "Port": true, "ClusterId": true, "TotalBytes": true, "UsableBytes": true,
	"LogDir": true, "LastTimestamp": true, "LastFetchTimestamp": true, "LastCaughtUpTimestamp": true,
	"LogEndOffset": true, "HighWatermark": true, "ThrottleTimeMs": true, "ProducerId": true,
	"Documentation": true, "SubscriptionId": true,
}

// Dump writes a response with the fields that differ from their defaults.
func Dump(resp kmsg.Response) string {
	return dumpStruct("", reflect.ValueOf(resp).Elem()) + "\n"
}

// lineWidth is the length from which a list is written one element a line.
const lineWidth = 90

func dump(indent, name string, v reflect.Value) string {
	switch x := v.Interface().(type) {
	case base.TopicID:
		return "id"
	case []byte:
		return fmt.Sprintf("%d bytes", len(x))
	case kmsg.Records:
		return fmt.Sprintf("%d bytes", x.Len())
	}
	if masked[name] && v.Kind() != reflect.Pointer {
		return "set"
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return "null"
		}
		return dump(indent, name, v.Elem())
	case reflect.Struct:
		return dumpStruct(indent, v)
	case reflect.Slice:
		return dumpSlice(indent, v)
	case reflect.String:
		return fmt.Sprintf("%q", v.String())
	}
	return fmt.Sprint(v)
}

func dumpStruct(indent string, v reflect.Value) string {
	defaults := reflect.New(v.Type())
	defaults.Interface().(interface{ Default() }).Default()
	var fields []string
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		if same(v.Field(i), defaults.Elem().Field(i)) {
			continue
		}
		fields = append(fields, name+": "+dump(indent+"  ", name, v.Field(i)))
	}
	return "{" + strings.Join(fields, ", ") + "}"
}

// same treats an empty list and none as the same where none is the default.
func same(v, def reflect.Value) bool {
	if v.Kind() == reflect.Slice && v.Len() == 0 && def.IsNil() {
		return true
	}
	return reflect.DeepEqual(v.Interface(), def.Interface())
}

// dumpSlice sorts the elements, since most answers come out of hash maps, and leaves out what only
// this project has.
func dumpSlice(indent string, v reflect.Value) string {
	if v.IsNil() {
		return "null"
	}
	var parts []string
	for i := range v.Len() {
		if e := v.Index(i); !ours(e) {
			parts = append(parts, dump(indent+"  ", "", e))
		}
	}
	slices.Sort(parts)
	all := "[" + strings.Join(parts, ", ") + "]"
	if len(all) <= lineWidth || len(parts) < 2 {
		return all
	}
	return "[\n" + indent + "  " + strings.Join(parts, "\n"+indent+"  ") + "]"
}

func ours(v reflect.Value) bool {
	if v.Kind() != reflect.Struct {
		return false
	}
	name, ok := v.Type().FieldByName("Name")
	return ok && name.Type.Kind() == reflect.String && strings.HasPrefix(v.FieldByName("Name").String(), "logstead.")
}
