package storage

import (
	"sync"
)

// The queues a log can stand in, each at most once.
const (
	queueCommit = iota
	queueFlush
	queueNotify
	queueWriteBack
	queues
)

// logQueue hands logs to one worker; a log that waits already is not queued twice.
type logQueue struct {
	kind int
	wake chan struct{} // capacity 1
	mu   struct {
		sync.Mutex
		list []*Log
	}
}

func newLogQueue(kind int) *logQueue { return &logQueue{kind: kind, wake: make(chan struct{}, 1)} }

func (q *logQueue) add(l *Log) {
	if l.queued[q.kind].Swap(true) {
		return
	}
	q.mu.Lock()
	q.mu.list = append(q.mu.list, l)
	q.mu.Unlock()
	q.ring()
}

func (q *logQueue) ring() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take empties the queue into spare. Each log may be queued again from then on.
func (q *logQueue) take(spare []*Log) []*Log {
	q.mu.Lock()
	list := q.mu.list
	q.mu.list = spare[:0]
	q.mu.Unlock()
	for _, l := range list {
		l.queued[q.kind].Store(false)
	}
	return list
}

// work calls do for each log that is queued, until stop closes; what is queued then is done first.
func (q *logQueue) work(stop <-chan struct{}, do func(*Log)) {
	var spare []*Log
	for {
		select {
		case <-q.wake:
		case <-stop:
			for _, l := range q.take(nil) {
				do(l)
			}
			return
		}
		spare = q.take(spare)
		for i, l := range spare {
			do(l)
			spare[i] = nil
		}
	}
}

// notifier runs callbacks that must not run on the goroutine that caused them.
type notifier struct {
	logs *logQueue
	mu   struct {
		sync.Mutex
		calls []func()
	}
}

func newNotifier() *notifier { return &notifier{logs: newLogQueue(queueNotify)} }

// log has the log's OnSynced callback called.
func (n *notifier) log(l *Log) { n.logs.add(l) }

// call runs fn.
func (n *notifier) call(fn func()) {
	n.mu.Lock()
	n.mu.calls = append(n.mu.calls, fn)
	n.mu.Unlock()
	n.logs.ring()
}

func (n *notifier) work(stop <-chan struct{}) {
	var spare []*Log
	for done := false; !done; {
		select {
		case <-n.logs.wake:
		case <-stop:
			done = true
		}
		spare = n.once(spare)
	}
}

// once runs what waits. It returns spare for the next time.
func (n *notifier) once(spare []*Log) []*Log {
	n.mu.Lock()
	calls := n.mu.calls
	n.mu.calls = nil
	n.mu.Unlock()
	for _, fn := range calls {
		fn()
	}
	spare = n.logs.take(spare)
	for i, l := range spare {
		l.tellSynced()
		spare[i] = nil
	}
	return spare
}
