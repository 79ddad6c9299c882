package main

import (
	"fmt"
	"os"
	"syscall"
)

// touchMemory makes the kernel hold n bytes of free memory that have been used a moment ago. A virtual machine gives
// free memory back to its host, and getting it again costs more than a broker's work on what is written there: without
// this a case that fills the page cache would measure whose turn came after a large file was removed.
func touchMemory(n int64) error {
	if n == 0 {
		return nil
	}
	b, err := syscall.Mmap(-1, 0, int(n), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return fmt.Errorf("touch %d bytes of memory: %w", n, err)
	}
	for i := 0; i < len(b); i += os.Getpagesize() {
		b[i] = 1
	}
	return syscall.Munmap(b)
}
