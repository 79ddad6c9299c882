package txn

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
)

// codeFor is the Kafka code of err. Clients from before PRODUCER_FENCED was introduced get
// INVALID_PRODUCER_EPOCH, which they treat in the same way.
func codeFor(err error, old bool) int16 {
	if err == nil {
		return 0
	}
	var ke *kerr.Error
	if !errors.As(err, &ke) {
		return kerr.UnknownServerError.Code
	}
	if old && ke == kerr.ProducerFenced {
		return kerr.InvalidProducerEpoch.Code
	}
	return ke.Code
}
