// Package coord runs coordinators: state machines whose state is the log of one partition of an
// internal topic (__consumer_offsets, __transaction_state).
//
// It owns the loading of a shard by replay, its mailbox, the forming of batches from the machine's
// records, the appends to the partition, and the parking of replies until the high watermark has
// passed what they depend on. It does not know what the records mean (packages group and txn), how
// a partition stores or replicates them (package partition), nor any request (package api).
//
// Concurrency: every exported method of Shards may be called from any goroutine and returns without
// waiting, but for Run and Close. A Machine is called by one goroutine at a time: the loader until
// it has loaded, the shard's goroutine from then on.
//
// Invariants:
//  1. A Machine has replayed exactly the records of its partition, in order, between any two inputs.
//  2. No Done is called with nil before the high watermark has passed everything its machine had
//     been shown when it answered: a reply never shows state that can still vanish.
//  3. A shard whose append failed answers nothing more: what it knew is thrown away and replayed.
//  4. Each Submit ends in exactly one of op and fail; each Done is called exactly once.
//  5. The mailbox, the operations in one batch, the bytes in one batch and the loads in flight are
//     bounded.
//  6. A shard with an empty mailbox and no deadline holds no timer.
package coord
