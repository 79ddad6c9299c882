//go:build unix

package node

import "syscall"

// descriptorLimit is how many descriptors this process may have. Go raises the soft limit to the
// hard one when it starts.
func descriptorLimit() int {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil {
		return 1024
	}
	return int(min(l.Cur, 1<<20))
}
