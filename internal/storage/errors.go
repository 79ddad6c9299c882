package storage

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Error is a refusal with its Kafka error code and a text for people.
type Error struct {
	Kerr *kerr.Error
	Msg  string
}

// Error is the code's name and the text.
func (e *Error) Error() string { return e.Kerr.Message + ": " + e.Msg }

// Unwrap gives the Kafka error.
func (e *Error) Unwrap() error { return e.Kerr }

func refuse(k *kerr.Error, format string, args ...any) error {
	return &Error{Kerr: k, Msg: fmt.Sprintf(format, args...)}
}

// offlineError is what a log answers whose directory has failed.
func offlineError(dir string, cause error) error {
	return refuse(kerr.KafkaStorageError, "log directory %s is offline: %v", dir, cause)
}

// Damage names bytes that are not what was written.
type Damage struct {
	File     string // path of the file
	Position int64  // first damaged byte
	Length   int64  // bytes that no batch could be made of
	Expected string
	Found    string
	Kept     string // path of the copy that was put aside, empty if the original is still in place
	// First and Next bound the offsets that are lost: First <= lost < Next.
	First, Next int64
}

// String says everything in one line.
func (d Damage) String() string {
	return fmt.Sprintf("%s: %d bytes at position %d are damaged: expected %s, found %s; "+
		"offsets %d to %d are lost; copy kept in %s",
		d.File, d.Length, d.Position, d.Expected, d.Found, d.First, d.Next-1, d.Kept)
}
