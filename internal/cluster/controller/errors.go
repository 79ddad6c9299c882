package controller

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/conf"
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

func refuse(code *kerr.Error, format string, args ...any) error {
	return &Error{code, fmt.Sprintf(format, args...)}
}

// Code is an error as the code and message of an answer; nil is success. What is no refusal in
// Kafka's terms is UNKNOWN_SERVER_ERROR.
func Code(err error) (int16, *string) {
	if err == nil {
		return 0, nil
	}
	var own *Error
	if errors.As(err, &own) {
		return own.Kerr.Code, &own.Msg
	}
	var config *conf.Error
	if errors.As(err, &config) {
		return config.Kerr.Code, &config.Msg
	}
	var plain *kerr.Error
	if errors.As(err, &plain) {
		return plain.Code, &plain.Description
	}
	return kerr.UnknownServerError.Code, &kerr.UnknownServerError.Description
}
