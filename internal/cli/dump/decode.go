package dump

import (
	"fmt"

	"github.com/logstead/logstead/internal/proto/kmsg"
)

// decoded is a coordinator's record: what kind it is, its key and its value.
type decoded struct {
	Type    string `json:"type"`
	Version int16  `json:"version"`
	Key     any    `json:"key,omitempty"`
	Value   any    `json:"value"` // null is a tombstone
}

// decode makes sense of a record of one of the internal topics.
func decode(kind string, key, value []byte) (any, error) {
	switch kind {
	case "offsets":
		return decodeKeyed(kmsg.NewGroupKey, kmsg.NewGroupValue, key, value)
	case "transactions":
		return decodeKeyed(kmsg.NewTransactionKey, kmsg.NewTransactionValue, key, value)
	case "metadata":
		rec, version, err := kmsg.ReadMetadataRecord(value)
		if err != nil {
			return nil, err
		}
		return &decoded{Type: typeName(rec), Version: version, Value: rec}, nil
	}
	return nil, fmt.Errorf("%q: %w", kind, errUnknownDecoder)
}

type newRecord func(recordType int16) (kmsg.Record, int16)

func decodeKeyed(newKey, newValue newRecord, key, value []byte) (any, error) {
	t, err := kmsg.KeyType(key)
	if err != nil {
		return nil, err
	}
	k, _ := newKey(t)
	if k == nil {
		return nil, fmt.Errorf("a key of type %d is not known", t)
	}
	if err := kmsg.ReadKey(key, k); err != nil {
		return nil, err
	}
	out := &decoded{Type: typeName(k), Key: k}
	if value == nil {
		return out, nil
	}
	v, _ := newValue(t)
	if v == nil {
		return out, fmt.Errorf("a value of type %d is not known", t)
	}
	if out.Version, err = kmsg.ReadVersioned(value, v); err != nil {
		return out, err
	}
	out.Value = v
	return out, nil
}

// typeName is the message's name without the package and without Key.
func typeName(r kmsg.Record) string {
	name := fmt.Sprintf("%T", r)
	for i := len(name) - 1; i >= 0; i-- {
		if name[i] == '.' {
			name = name[i+1:]
			break
		}
	}
	if n := len(name); n > 3 && name[n-3:] == "Key" {
		name = name[:n-3]
	}
	return name
}
