package auth

import (
	"encoding/binary"
	"fmt"

	"github.com/logstead/logstead/internal/proto/kmsg"
)

// Principal is who a connection acts for. The zero value is Anonymous.
type Principal struct {
	Type string // UserType, where Kafka's default builder made it
	Name string
}

// UserType is the type of every principal that Kafka's default builder makes.
const UserType = "User"

// Anonymous is who did not authenticate.
var Anonymous = Principal{Type: UserType, Name: "ANONYMOUS"}

// String is the principal as access control entries and tools write it.
func (p Principal) String() string {
	p = p.OrAnonymous()
	return p.Type + ":" + p.Name
}

// OrAnonymous is p, or Anonymous in place of the zero value.
func (p Principal) OrAnonymous() Principal {
	if p == (Principal{}) {
		return Anonymous
	}
	return p
}

// principalVersion is the one version of Kafka's DefaultPrincipalData.
const principalVersion = 0

// Marshal is the principal in the format of Kafka's DefaultKafkaPrincipalBuilder: a version and DefaultPrincipalData. A
// request that a broker passes on carries it (KIP-590).
func (p Principal) Marshal() []byte {
	p = p.OrAnonymous()
	w := &kmsg.Writer{Buf: binary.BigEndian.AppendUint16(nil, principalVersion)}
	(&kmsg.DefaultPrincipalData{Type: p.Type, Name: p.Name}).Append(w, principalVersion)
	return w.Buf
}

// UnmarshalPrincipal reads what Marshal writes.
func UnmarshalPrincipal(data []byte) (Principal, error) {
	if len(data) < 2 {
		return Principal{}, fmt.Errorf("principal of %d bytes: want a version and more", len(data))
	}
	version := int16(binary.BigEndian.Uint16(data))
	if version != principalVersion {
		return Principal{}, fmt.Errorf("principal of version %d: want %d", version, principalVersion)
	}
	var d kmsg.DefaultPrincipalData
	r := kmsg.NewReader(data[2:])
	if err := d.Read(&r, version); err != nil {
		return Principal{}, fmt.Errorf("principal: %w", err)
	}
	return Principal{Type: d.Type, Name: d.Name}, nil
}
