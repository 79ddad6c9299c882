package conf

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Error is a refusal in Kafka's terms: its code, and a message for the client.
type Error struct {
	Kerr *kerr.Error
	Msg  string
}

// Error is the message after the code's name.
func (e *Error) Error() string { return e.Kerr.Message + ": " + e.Msg }

// Unwrap is the Kafka error, for errors.Is and errors.As.
func (e *Error) Unwrap() error { return e.Kerr }

func invalidConfig(format string, args ...any) error {
	return &Error{kerr.InvalidConfig, fmt.Sprintf(format, args...)}
}

func invalidRequest(format string, args ...any) error {
	return &Error{kerr.InvalidRequest, fmt.Sprintf(format, args...)}
}

// as gives an error of a key's rule the Kafka code that the kind of resource answers with.
func as(code *kerr.Error, err error) error {
	var refusal *Error
	if err == nil || errors.As(err, &refusal) {
		return err
	}
	return &Error{code, err.Error()}
}
