package kmsg

import (
	"encoding/binary"
	"fmt"
)

// AppendVersioned appends a value in the coordinators' form: version as int16, then the message.
func AppendVersioned(dst []byte, version int16, m Message) []byte {
	w := Writer{Buf: binary.BigEndian.AppendUint16(dst, uint16(version))}
	m.Append(&w, version)
	return w.Buf
}

// ReadVersioned reads what AppendVersioned wrote. The message's bytes alias b.
func ReadVersioned(b []byte, m Message) (version int16, err error) {
	r := NewReader(b)
	version = r.Int16()
	if r.Err() != nil {
		return 0, fmt.Errorf("read version prefix of %T: %w", m, r.Err())
	}
	return version, m.Read(&r, version)
}

// AppendKey appends a coordinator record's key: its record type as int16, then the message. Keys have
// one version only, 0.
func AppendKey(dst []byte, key Record) []byte {
	w := Writer{Buf: binary.BigEndian.AppendUint16(dst, uint16(key.RecordType()))}
	key.Append(&w, 0)
	return w.Buf
}

// KeyType returns the record type at the start of a coordinator record's key.
func KeyType(b []byte) (int16, error) {
	if len(b) < 2 {
		return 0, fmt.Errorf("read record type of a %d byte key: %w", len(b), ErrShort)
	}
	return int16(binary.BigEndian.Uint16(b)), nil
}

// ReadKey reads what AppendKey wrote into key, whose type must be the one in b.
func ReadKey(b []byte, key Record) error {
	t, err := KeyType(b)
	if err != nil {
		return err
	}
	if t != key.RecordType() {
		return fmt.Errorf("read %T: key has record type %d, want %d: %w", key, t, key.RecordType(), ErrType)
	}
	r := NewReader(b[2:])
	return key.Read(&r, 0)
}

// metadataFrameVersion is the version of the frame around a metadata record.
const metadataFrameVersion = 1

// AppendMetadataRecord appends the value of a record in the metadata log: frame version, record type
// and version as unsigned varints, then the message.
func AppendMetadataRecord(dst []byte, rec Record, version int16) []byte {
	w := Writer{Buf: dst}
	w.Uvarint(metadataFrameVersion)
	w.Uvarint(uint32(rec.RecordType()))
	w.Uvarint(uint32(version))
	rec.Append(&w, version)
	return w.Buf
}

// ReadMetadataRecord reads what AppendMetadataRecord wrote. An unknown record type or version is an
// error, because a metadata record that is skipped leaves a wrong image behind.
func ReadMetadataRecord(b []byte) (rec Record, version int16, err error) {
	r := NewReader(b)
	frame, kind, v := r.Uvarint(), r.Uvarint(), r.Uvarint()
	if r.Err() != nil {
		return nil, 0, fmt.Errorf("read frame of metadata record: %w", r.Err())
	}
	if frame != metadataFrameVersion {
		return nil, 0, fmt.Errorf("read metadata record: frame version %d, want %d: %w",
			frame, metadataFrameVersion, ErrVersion)
	}
	rec, maxVersion := NewMetadataRecord(int16(min(kind, maxString)))
	if rec == nil {
		return nil, 0, fmt.Errorf("read metadata record of type %d: %w", kind, ErrType)
	}
	if v > uint32(maxVersion) {
		return nil, 0, fmt.Errorf("read %T: version %d, want at most %d: %w", rec, v, maxVersion, ErrVersion)
	}
	if err := rec.Read(&r, int16(v)); err != nil {
		return nil, 0, err
	}
	if n := len(r.Rest()); n != 0 {
		return nil, 0, fmt.Errorf("read %T v%d: %d bytes left over: %w", rec, v, n, ErrLength)
	}
	return rec, int16(v), nil
}
