package api

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
)

// code is the one place where an error becomes a Kafka error code. What is no Kafka error is a
// fault of ours: it answers UNKNOWN_SERVER_ERROR and is logged once, with the call it belongs to.
func (c *Call) code(err error) int16 {
	if err == nil {
		return 0
	}
	if ke := kafkaError(err); ke != nil {
		return ke.Code
	}
	c.broker.Logger.Error("request failed", "api", c.Key, "version", c.Version, "client_id", c.ClientID,
		"correlation_id", c.Corr, "err", err)
	return kerr.UnknownServerError.Code
}

// kafkaError finds the Kafka error that err is or wraps, or nil.
func kafkaError(err error) *kerr.Error {
	var ke *kerr.Error
	if errors.As(err, &ke) {
		return ke
	}
	return nil
}

// message is the text that goes with code(err) where the response has room for one; nil for none.
func message(err error) *string {
	if err == nil {
		return nil
	}
	s := err.Error()
	return &s
}
