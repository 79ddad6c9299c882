package raw

import (
	"syscall"
	"time"
)

// sleep returns within some tens of microseconds after d has passed. Go's own timers wait in epoll_wait, in whole
// milliseconds: where records are due every millisecond they would be late by half of one, whoever answers them.
func sleep(d time.Duration) {
	for d > 0 {
		ts := syscall.NsecToTimespec(d.Nanoseconds())
		began := time.Now()
		_ = syscall.Nanosleep(&ts, nil) // a signal ends it early
		d -= time.Since(began)
	}
}
