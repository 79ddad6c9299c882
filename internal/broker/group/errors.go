package group

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
)

// failure is the answer to a request that a rule refuses: Kafka's error and the text for a person.
type failure struct {
	kerr *kerr.Error
	msg  string
}

func fail(k *kerr.Error) *failure { return &failure{kerr: k} }

func failf(k *kerr.Error, format string, args ...any) *failure {
	return &failure{kerr: k, msg: fmt.Sprintf(format, args...)}
}

func (f *failure) code() int16 { return f.kerr.Code }

// text is what goes into an error_message field.
func (f *failure) text() *string {
	if f.msg == "" {
		return &f.kerr.Description
	}
	return &f.msg
}

// appendFailure is what clients are told when a record could not be stored: they have to find the
// coordinator again, or try again, and must not be told of partitions they never heard of.
func appendFailure(err error) *failure {
	var k *kerr.Error
	if !errors.As(err, &k) {
		return fail(kerr.UnknownServerError)
	}
	switch k {
	case kerr.UnknownTopicOrPartition, kerr.NotEnoughReplicas, kerr.RequestTimedOut:
		return fail(kerr.CoordinatorNotAvailable)
	case kerr.NotLeaderForPartition, kerr.KafkaStorageError:
		return fail(kerr.NotCoordinator)
	case kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidFetchSize:
		return fail(kerr.UnknownServerError)
	case kerr.NetworkException:
		return fail(kerr.CoordinatorLoadInProgress)
	}
	return fail(k)
}
