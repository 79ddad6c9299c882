//go:build !linux

package raw

import "time"

func sleep(d time.Duration) { time.Sleep(d) }
