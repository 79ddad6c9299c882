package coord

import (
	"time"

	"github.com/logstead/logstead/internal/proto/batch"
)

// AppendOptions are what a batch needs beside its bytes.
type AppendOptions struct {
	TransactionVersion int8   // of a control batch: Marker.TransactionVersion
	Guard              uint64 // of a transactional batch: Result.Guard
}

// Partition is the replica of the internal topic's partition that a shard lives in. Package node
// puts broker/partition behind it; tests have one in memory.
type Partition interface {
	// Append writes one whole batch and answers with the offset of its last record. An error
	// leaves the log as it was, or ends the partition.
	Append(now time.Time, b batch.Batch, o AppendOptions) (lastOffset int64, err error)
	// Await calls fn once, from any goroutine and perhaps before it returns: with nil when the high
	// watermark has reached until, or with an error when this replica stops leading first. fn does
	// not block.
	Await(until int64, fn func(error))
	// Scan reads every batch from the log's start to its end, in order. A batch is valid only until
	// fn returns.
	Scan(fn func(b batch.Batch) error) error
}
