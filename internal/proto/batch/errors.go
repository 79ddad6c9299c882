package batch

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Error is why a batch was refused, as the producer is to be told.
type Error struct {
	Kerr *kerr.Error
	Msg  string
	// Records name the records at fault, in order; at most maxRecordErrors of them.
	Records []RecordError
}

// RecordError is one record at fault.
type RecordError struct {
	Index int32 // the record's place in the batch, from 0
	Msg   string
}

// maxRecordErrors bounds the list in an answer; a batch may hold a hundred thousand bad records.
const maxRecordErrors = 1000

// Error is the message with the code's name.
func (e *Error) Error() string { return e.Kerr.Message + ": " + e.Msg }

// Unwrap makes errors.Is and errors.As find the code.
func (e *Error) Unwrap() error { return e.Kerr }

func refuse(code *kerr.Error, format string, args ...any) *Error {
	return &Error{Kerr: code, Msg: fmt.Sprintf(format, args...)}
}

// asError gives an inner error the code that it is answered with.
func asError(err error, otherwise *kerr.Error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return &Error{Kerr: e.Kerr, Msg: err.Error(), Records: e.Records}
	}
	return &Error{Kerr: otherwise, Msg: err.Error()}
}
