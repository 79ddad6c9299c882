package api

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/logstead/logstead/internal/cluster/controller"
	"github.com/logstead/logstead/internal/proto/kmsg"
)

// decide has the controller carry out an operation and answers the call with its response, once the
// records of it are on stable storage and everybody here acts on them. failed makes the response for
// a reason that concerns the request as a whole.
func decide[R kmsg.Response](c *Call, op func(*controller.Machine) ([]kmsg.Record, R), failed func(itemError) R) {
	controller.Do(c.broker.Admin.Controller, op, func(resp R, err error) {
		if err != nil {
			c.Reply(failed(itemError{c.code(err), message(err)}))
			return
		}
		c.Reply(resp)
	})
}

// itemError is an error as the items of a response carry it.
type itemError struct {
	code int16
	text *string
}

// outOfTime is what Kafka's controller says to a request that leaves it no time at all.
var outOfTime = itemError{code: kerr.RequestTimedOut.Code}
