package partition

import (
	"github.com/logstead/logstead/internal/proto/batch"
	"github.com/logstead/logstead/internal/storage"
)

// scanBytes is how much of a log is read at a time.
const scanBytes = 1 << 20

// Scan gives each batch that the log holds now to fn, from its start on: a coordinator replays them. A batch is
// valid until fn returns.
func (p *Partition) Scan(fn func(b batch.Batch) error) error {
	log := p.Log()
	for at, end := log.StartOffset(), log.EndOffset(); at < end; {
		next, err := scanSome(log, at, end, fn)
		if err != nil {
			return err
		}
		if next <= at {
			return nil // what follows is gone: compaction left no batch up to the end
		}
		at = next
	}
	return nil
}

func scanSome(log *storage.Log, at, end int64, fn func(b batch.Batch) error) (next int64, err error) {
	rng, err := log.Read(at, scanBytes, end, true)
	if err != nil || rng == nil {
		return at, err
	}
	defer rng.Release()
	buf := make([]byte, rng.Len())
	if _, err := rng.ReadAt(buf, 0); err != nil {
		return at, err
	}
	next = at
	for len(buf) > 0 {
		b, rest, err := batch.Next(buf)
		if err != nil {
			return at, err
		}
		next = b.LastOffset() + 1
		if err := fn(b); err != nil {
			return at, err
		}
		buf = rest
	}
	return next, nil
}
